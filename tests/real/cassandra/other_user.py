"""A backup, a restore and a second backup on a node, as whoever runs this: `python -m … <facts as JSON>`.

In: where the node is and what is to be restored. Out: exit code 0, and what preflight found as JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from agent.cassandra.settings import CassandraSettings, CqlSettings, NodetoolSettings
from agent.wire.commands import Kind
from tests.real.cassandra.rig import Rig


async def _story(facts: dict[str, Any]) -> dict[str, Any]:
    os.umask(0o027)  # a strict one: staging must not depend on it
    settings = CassandraSettings(
        nodetool=NodetoolSettings(command=(facts["nodetool"],), port=facts["jmx_port"]),
        cql=CqlSettings(host=facts["address"]),
    )
    rig = Rig(settings, Path(facts["state"]))
    try:
        if facts["step"] == "keep":
            await rig.keep(facts["tag"], facts["tables"])
            return {}
        arguments = await rig.arguments(facts["tag"], facts["tables"], truncate=True)
        preflight = (await rig.run(Kind.PREFLIGHT, arguments)).result
        if preflight.refusals:  # type: ignore[attr-defined]
            return {"refusals": [refusal["code"] for refusal in preflight.refusals]}  # type: ignore[attr-defined]
        for kind in (Kind.FETCH, Kind.TRUNCATE, Kind.IMPORT, Kind.CHECK, Kind.CLEAN):
            await rig.run(kind, arguments)
        return {"refusals": [], "user": os.getuid()}
    finally:
        await rig.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_story(json.loads(sys.argv[1])))))
