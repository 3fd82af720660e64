"""Who writes to a node's prefix: in, an opened repository and this agent; out, intents put, cleared, or refused.

An intent stands before the first put and goes after the manifest. It is put first and the others are listed after it,
and a sweep does the same with its own: so of two agents at least one sees the other and stops.

In the prefix of a node that left the ring stands the mark of its adoption, put before the adopting sweep's own. Whose
it is doesn't matter: sweeps of adopting agents keep each other out by their own marks. To the node's own agent it is a
foreign intent, so that one that returns stops before its first put (one of before this mark was made, too).
"""

from collections.abc import Sequence

import msgspec

from agent.repository import checked_text
from agent.repository.bounded import MOST_INTENT
from agent.repository.errors import IntentForeign, ManifestInvalid, NodeAdopted
from agent.repository.keys import ADOPTED, SWEEP, adopted_key, intent_key, intents_prefix, parse_intent, sweep_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Entry, NotFound


class Writer(msgspec.Struct, frozen=True):
    """This agent as it signs its intents: `agent_id` stays for the life of its state, `instance` is new each start."""

    agent_id: str
    instance: str
    version: str = ""


class Intent(msgspec.Struct, frozen=True):
    """The content of an intent."""

    tag: str
    agent_id: str
    instance: str
    command_id: str


class Standing(msgspec.Struct, frozen=True):
    """An intent as it stands in the store. `modified`: unix seconds of the store's clock. `intent` None: unreadable."""

    name: str
    key: str
    modified: float
    intent: Intent | None


UNDO_SECONDS = 15.0
"""How long an end before its time waits for a destination; what stays there is cleared by this agent's next job."""
_CLOCK = "sweep-clock"
"""The intent that is put to ask a store for its time; named as tags are, so that it can be given up like one."""

_intent = msgspec.json.Decoder(Intent)


class Intents:
    """The intents of one node's prefix in one destination. `adopting`: the node left the ring."""

    def __init__(self, opened: OpenedRepository, host_id: str, writer: Writer, *, adopting: bool = False) -> None:
        self._adopting = adopting
        self._storage = opened.storage
        self._documents = opened.documents
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self._writer = writer

    async def begin(self, tag: str, command_id: str) -> None:
        """Put the intent of `tag`, clear this agent's own past ones. Raises IntentForeign."""
        key = intent_key(self._cluster_id, self._host_id, tag)
        put = await self._documents.put(key, self._body(tag, command_id))
        if not put.created:
            there = await self._read(Entry(key, put.size, 0.0), tag)
            if there is not None and not self._is_own(there):
                raise self._foreign([there])
        others = await self.standing(but=key)
        foreign = [one for one in others if not self._is_own(one)]
        if foreign:
            await self._storage.delete([key])
            raise self._foreign(foreign)
        if others:
            await self._storage.delete([one.key for one in others])

    async def end(self, tag: str) -> None:
        """Remove the intent of `tag`."""
        await self._storage.delete([intent_key(self._cluster_id, self._host_id, tag)])

    async def withdraw(self, tag: str) -> None:
        """Remove the intent of `tag` if it is this agent's own: another one's stands for what that one is writing."""
        if await self.stands(tag):
            await self.end(tag)

    async def sweep_mark(self, command_id: str) -> float:
        """Put the sweep's own mark anew; the store's time of it, in unix seconds."""
        key = sweep_key(self._cluster_id, self._host_id)
        await self._refuse_foreign(key, SWEEP)
        await self._documents.put(key, self._body(SWEEP, command_id), replace=True)
        entry = await self._storage.head(key)
        if entry is None:
            raise IntentForeign("the sweep's own mark vanished: somebody else works in this node's prefix")
        return entry.modified

    async def store_time(self, command_id: str) -> float:
        """The store's own time, in unix seconds, by an intent that comes and goes."""
        key = intent_key(self._cluster_id, self._host_id, _CLOCK)
        await self._documents.put(key, self._body(_CLOCK, command_id), replace=True)
        entry = await self._storage.head(key)
        await self._storage.delete([key])
        if entry is None:
            raise IntentForeign("an intent vanished: somebody else works in this node's prefix")
        return entry.modified

    async def is_there(self, tag: str) -> bool:
        """Whether there is an intent of `tag`, whoever's."""
        return await self._storage.head(intent_key(self._cluster_id, self._host_id, tag)) is not None

    async def stands(self, tag: str) -> bool:
        """Whether the intent of `tag` is there, and this agent's own: one that was given up may have been followed by
        another agent's."""
        there = await self._find(intent_key(self._cluster_id, self._host_id, tag), tag)
        return there is not None and self._is_own(there)

    async def refuse_foreign_sweep(self) -> None:
        """Raise IntentForeign while another agent's sweep stands, NodeAdopted when the prefix is another's by now: for
        who adopts it too, the mark of the sweep alone tells whether anything is being deleted."""
        await self._refuse_foreign(sweep_key(self._cluster_id, self._host_id), SWEEP)
        if not self._adopting:
            await self._refuse_foreign(adopted_key(self._cluster_id, self._host_id), ADOPTED)

    async def _refuse_foreign(self, key: str, name: str) -> None:
        there = await self._find(key, name)
        if there is not None and not self._is_own(there):
            raise self._foreign([there])

    async def adopt(self, command_id: str) -> bool:
        """Put the mark of the adoption; whether none stood there."""
        key = adopted_key(self._cluster_id, self._host_id)
        return (await self._documents.put(key, self._body(ADOPTED, command_id))).created

    async def give_back(self) -> None:
        """Remove the mark of the adoption."""
        await self._storage.delete([adopted_key(self._cluster_id, self._host_id)])

    async def sweep_end(self) -> None:
        """Remove the sweep's own mark."""
        await self._storage.delete([sweep_key(self._cluster_id, self._host_id)])

    async def others(self) -> tuple[list[Standing], list[Standing]]:
        """Intents of this agent's own past, and foreign ones, without this agent's sweep mark."""
        standing = [one for one in await self.standing() if not (one.name == SWEEP and self._is_own(one))]
        own = [one for one in standing if self._is_own(one)]
        return own, [one for one in standing if not self._is_own(one)]

    async def clear(self, standing: Sequence[Standing]) -> None:
        """Remove these intents."""
        if standing:
            await self._storage.delete([one.key for one in standing])

    async def standing(self, but: str = "") -> list[Standing]:
        """Every intent of the prefix, without the one of the key `but`."""
        prefix = intents_prefix(self._cluster_id, self._host_id)
        found = []
        async for entry in self._storage.list(prefix):
            if entry.key == but or (self._adopting and entry.key == prefix + ADOPTED):
                continue
            one = await self._read(entry, parse_intent(prefix, entry.key) or entry.key)
            if one is not None:
                found.append(one)
        return found

    def _foreign(self, standing: Sequence[Standing]) -> IntentForeign:
        return foreign_error(self._host_id, standing)

    def _is_own(self, standing: Standing) -> bool:
        by_us = standing.intent is not None and standing.intent.agent_id == self._writer.agent_id
        return by_us and standing.name != ADOPTED

    def _body(self, tag: str, command_id: str) -> bytes:
        return checked_text.encode(Intent(tag, self._writer.agent_id, self._writer.instance, command_id))

    async def _find(self, key: str, name: str) -> Standing | None:
        entry = await self._storage.head(key)
        return None if entry is None else await self._read(entry, name)

    async def _read(self, entry: Entry, name: str) -> Standing | None:
        """The intent behind a key; None if it went meanwhile."""
        try:
            body = await self._documents.read(entry.key, entry.size, MOST_INTENT)
            return Standing(name, entry.key, entry.modified, checked_text.decode(_intent, body))
        except NotFound:
            return None
        except (msgspec.DecodeError, ManifestInvalid):
            return Standing(name, entry.key, entry.modified, None)


def foreign_error(host_id: str, standing: Sequence[Standing]) -> IntentForeign:
    """The error that names foreign intents: their tags, agents and commands; that of an adoption before all others."""
    named = ", ".join(
        f"{one.name} (agent {one.intent.agent_id}, command {one.intent.command_id})" if one.intent else one.name
        for one in standing
    )
    adopted = any(one.name == ADOPTED for one in standing)
    kind = NodeAdopted if adopted else IntentForeign
    told = (
        f"the prefix of the node {host_id} was adopted, for it had left the ring"
        if adopted
        else (f"another agent works in the prefix of the node {host_id}")
    )
    return kind(
        f"{told}: {named}",
        host_id=host_id,
        tags=[one.name for one in standing],
        agents=sorted({one.intent.agent_id for one in standing if one.intent}),
    )
