"""Which settings of a configuration file say nothing of themselves. In: a TOML file's text, with tables that are
commented out. Out: the lines."""

import re
from itertools import pairwise

_SETTING = re.compile(r"(# )?[a-z_]+ = ")
_TABLE = re.compile(r"(# )?\[[a-z_.]+\]$")


def without_comment(text: str) -> list[str]:
    """The lines of settings that have no sentence of their own right above them; headings (`# ---`) and other settings
    are none."""
    lines = ["", *text.splitlines()]
    return [line for above, line in pairwise(lines) if _SETTING.match(line) and not _says(above)]


def _says(line: str) -> bool:
    return line.startswith("# ") and not (_SETTING.match(line) or _TABLE.match(line) or line.startswith("# ---"))
