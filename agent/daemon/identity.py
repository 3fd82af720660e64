"""Who this agent is. In: its state directory. Out: an id that stays with the directory."""

import uuid
from pathlib import Path

import msgspec

from kit.atomic_files import write_atomically
from kit.errors import HelenusError


class IdentityDamaged(HelenusError):
    """agent.json can't be read."""

    code = "agent_identity_damaged"
    todo = "Restore agent.json in the state directory, or remove it: the agent is then a new one to its coordinators."


class _AgentFile(msgspec.Struct, frozen=True):
    agent_id: str


def agent_id_in(state_directory: Path) -> str:
    """The id in `agent.json`, made at the first start. Raises `IdentityDamaged`."""
    path = state_directory / "agent.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_AgentFile).agent_id
    except FileNotFoundError:
        made = _AgentFile(uuid.uuid4().hex)
        write_atomically(path, msgspec.json.encode(made))
        return made.agent_id
    except msgspec.MsgspecError as error:
        raise IdentityDamaged(f"{path} can't be read: {error}", file=str(path)) from None
