"""Key slots over HTTP, every exchange checked against the description."""

from pathlib import Path

from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import served


async def test_keys_are_changed_as_described(tmp_path: Path) -> None:
    """Promise: a change answers with the slots, never with a secret; what isn't in the description is refused, and so
    is a secret that is given in two ways."""
    secret = {"passphrase": "canary-secret"}
    settings = {"provider": "local", "path": "p", "encryption": secret}
    async with served(tmp_path, everything(quick)) as agent:
        put = await agent.client.put("/v1/destinations/d1", {"revision": 1, "settings": settings})
        assert put.json["settings"]["encryption"] == {"passphrase": "********"}
        answer = await agent.client.post("/v1/destinations/d1/keys", {"change": "add", "secrets": [secret]})
        assert answer.json["slots"] == [{"number": 0, "epoch": 2, "kind": "passphrase", "counts": True}]
        assert b"canary-secret" not in put.body + answer.body
        for odd in ({"change": "burn"}, {}, {"change": "add", "secrets": [{**secret, "key_file": "/k"}]}):
            refused = await agent.client.post("/v1/destinations/d1/keys", odd, wrong=True)
            assert refused.status == 400
            assert b"canary-secret" not in refused.body
