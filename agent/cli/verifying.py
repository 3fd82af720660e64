"""`drill … --sstableverify`: Cassandra's own tool over every SSTable that was extracted. In: the extract's directory,
the tool, and the data directory of a scratch node. Out: what is wrong, on the screen.

The tool knows tables of a node and no directories, and takes the schema from the node's own files: so SSTables are
linked into the tables of a scratch node, verified there to the last row, and taken away again.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from agent.cli.scratch_tables import LaidTable, lay, take_away
from agent.cli.screen import Screen
from kit.config import ConfigError

_SHOWN = 5


def verify(extracted: Path, directories: Iterable[Path], tool: Path, data: Path, screen: Screen) -> int:
    """Verify every SSTable in the directories, which are below `extracted`, with the program `tool`; how many are
    wrong, 1 also when there is none to be verified. Raises ScratchNodeUnfit, ConfigError (no such program)."""
    where = "--sstableverify"
    if shutil.which(tool) is None:
        raise ConfigError(f"«{where}» {tool} is no program that can be run", setting=where)
    wrong = seen = 0
    tables = lay(directories, data)
    try:
        for done, table in enumerate(tables):
            screen.progress(f"sstableverify: {done} of {len(tables)} tables: {table.keyspace}.{table.table}")
            wrong += _table(table, tool, extracted, screen)
            seen += len(table.sstables)
    finally:
        take_away(tables)
    if not seen:
        screen.line("sstableverify: 0 SSTables: nothing was verified")
        return wrong or 1
    verdict = f"{wrong} are wrong" if wrong else "all are whole"
    screen.line(f"sstableverify: {seen} SSTables of {len(tables)} tables (not of their indexes): {verdict}")
    return wrong


def _table(table: LaidTable, tool: Path, extracted: Path, screen: Screen) -> int:
    """How many of its SSTables the tool didn't call whole: one that it never spoke of is not proved."""
    said = subprocess.run(
        [tool, "--force", "--extended", table.keyspace, table.table],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = said.stdout.decode(errors="replace").splitlines()
    whole = [line for line in lines if line.startswith("Verify of ") and " succeeded" in line]
    bad = [name for name in table.sstables if not any(f"/{name}'" in line for line in whole)]
    for name in bad:
        source = table.sstables[name].relative_to(extracted)
        about = [line for line in lines if f"/{name}" in line and line not in whole][-1:]
        screen.line(f"{source}: sstableverify: {''.join(about) or 'was not verified'}")
    if said.returncode and not bad:
        screen.line(f"{table.keyspace}.{table.table}: sstableverify ended with {said.returncode}")
    if said.returncode and (not bad or not whole):
        for line in lines[-_SHOWN:]:
            screen.line(f"  {line}")
    return len(bad) or int(said.returncode != 0)
