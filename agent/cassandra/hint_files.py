"""Hints that a node keeps for others, by its files. In: the hints directory. Out: for whom, and how many bytes.

The files and not `nodetool listpendinghints`: that tells only of files that are closed, and not of the one that is
written [X: HintsStore.getPendingHintsInfo]. A file that was delivered is gone.
"""

import os
import re
from pathlib import Path

_NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+-\d+\.hints")
"""[X: HintsDescriptor.fileName] `<host id>-<milliseconds>-<version>.hints`."""


def hint_bytes(directory: Path) -> dict[str, int]:
    """Host id → bytes of the files for it, the one that is written among them. A file that is delivered meanwhile
    counts nothing, nor does one without anything in it. Raises OSError."""
    found: dict[str, int] = {}
    for name in os.listdir(directory):
        named = _NAME.fullmatch(name)
        if named is None:
            continue
        try:
            size = (directory / name).stat().st_size
        except FileNotFoundError:
            continue
        if size:
            found[named[1]] = found.get(named[1], 0) + size
    return found
