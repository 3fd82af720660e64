"""Which settings of a configuration file say nothing of themselves. In: a TOML file's text, with tables that are
commented out. Out: the lines; or what is said of one setting."""

import re
from itertools import pairwise

_SETTING = re.compile(r"(# )?[a-z_]+ = ")
_TABLE = re.compile(r"(# )?\[[a-z_.]+\]$")


def without_comment(text: str) -> list[str]:
    """The lines of settings that have no sentence of their own right above them; headings (`# ---`) and other settings
    are none."""
    lines = ["", *text.splitlines()]
    return [line for above, line in pairwise(lines) if _SETTING.match(line) and not _says(above)]


def comment_of(text: str, path: str) -> str:
    """The comment above a setting, as one line; empty when the file has no such setting. `path` is dotted."""
    table, comment = "", ""
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if _TABLE.match(line):
            table, comment = bare.strip("[]") + ".", ""
        elif _SETTING.match(line):
            if table + bare.partition(" = ")[0] == path:
                return comment
            comment = ""
        elif _says(line):
            comment = f"{comment} {bare}".strip()
    return ""


def _says(line: str) -> bool:
    return line.startswith("# ") and not (_SETTING.match(line) or _TABLE.match(line) or line.startswith("# ---"))
