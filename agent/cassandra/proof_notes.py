"""Which doors were proven to lead to the agent's node, kept while the agent itself is started anew. In: proofs by the
door's setting. Out: the same, from a small file in the agent's state.

A proof holds for one life of Cassandra and for the settings that the door was opened with: its port belongs to that
JVM until it ends. A note that is lost or can't be read costs one start of nodetool, so it is no error.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from agent.cassandra.node_view import NodeLife
from kit.atomic_files import write_into

_log = structlog.get_logger(__name__)


class Proof(msgspec.Struct, frozen=True):
    """A door led to the node behind CQL. `opened_with`: a digest of its settings."""

    opened_with: str
    life: NodeLife


_file = msgspec.json.Decoder(dict[str, Proof])


class ProofNotes:
    """The note at `path`. Raises nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> dict[str, Proof]:
        """What was kept; empty when nothing was, or nothing that can be read."""
        try:
            return _file.decode(await asyncio.to_thread(self._path.read_bytes))
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("control_proof_unreadable", path=str(self._path), reason=str(error))
            return {}

    async def keep(self, proofs: Mapping[str, Proof]) -> None:
        """Keep these and no others."""
        try:
            await asyncio.to_thread(write_into, self._path.parent, self._path.name, msgspec.json.encode(proofs))
        except OSError as error:
            _log.warning("control_proof_not_kept", path=str(self._path), reason=str(error))
