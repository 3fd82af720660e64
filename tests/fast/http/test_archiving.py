"""GET /v1/archiving."""

from pathlib import Path

from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import served


async def test_how_far_the_log_is_archived_is_told(tmp_path: Path) -> None:
    """Promise: as the description has it, with what is wrong with a destination; parameters are refused by name."""
    async with served(tmp_path, everything(quick)) as agent:
        answer = await agent.client.get("/v1/archiving")
        assert answer.status == 200
        assert answer.json["state"] == "on"
        assert answer.json["places"]["d1"]["safe_until"] == 2.5
        assert answer.json["places"]["d1"]["error"]["message"] == "away"
        assert answer.json["gaps"][0]["reason"] == "the archive was full"
        refused = await agent.client.get("/v1/archiving?destination=d1")
        assert (refused.status, refused.json["code"]) == (400, "invalid_input")
