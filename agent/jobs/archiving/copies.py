"""Files of the archive directory that bear a segment's name and are not that segment. In: a look. Out: the look without
them, so that nothing ships them, takes them for archived, or deletes Cassandra's own segment for them.

The archive command fails for a segment whose name is taken by other bytes, and touches neither. So only a segment whose
archiving failed can have such a copy: those are compared with Cassandra's own, byte by byte, once for each state of
both files (sizes say nothing: all segments have the same). Cassandra deletes its own at its next start; what was found
out before holds for the copy as long as that stays as it is, and what the archive command noted as long as it is there.
"""

import filecmp
from collections.abc import Collection

import msgspec

from agent.jobs.archiving.looking import Look, SeenFile


class Copies:
    """Keeps what was compared."""

    def __init__(self) -> None:
        self._compared: dict[str, tuple[SeenFile, SeenFile, bool]] = {}

    def told_apart(self, look: Look, noted: Collection[str]) -> Look:
        """The look, with false copies in `false` and no longer in `archived`. `noted`: by the archive command. Blocks.
        Raises OSError."""
        compared = {}
        for name in look.failed & look.archived.keys():
            own, copy = look.live.get(name), look.archived[name]
            known = self._compared.get(name)
            if known is not None and known[1] == copy and own in (None, known[0]):
                compared[name] = known
            elif own is not None and (same := _same(own, copy)) is not None:
                compared[name] = own, copy, same
        self._compared = compared
        false = {name: copy for name, (_, copy, same) in compared.items() if not same}
        false |= {name: look.archived[name] for name in noted if name in look.archived and name not in compared}
        archived = {name: file for name, file in look.archived.items() if name not in false}
        return msgspec.structs.replace(look, archived=archived, false=false, differs=frozenset(noted))


def _same(own: SeenFile, copy: SeenFile) -> bool | None:
    try:
        return copy.path.samefile(own.path) or filecmp.cmp(copy.path, own.path, shallow=False)
    except FileNotFoundError:
        return None  # one of them went meanwhile: what was noted counts, and the next look tells
