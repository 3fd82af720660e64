"""CQL as text, no connection: quoting names, splitting what DESCRIBE prints, leaving out table ids. Pure.

DESCRIBE … WITH INTERNALS may print several statements for one table (ALTER TABLE … DROP … USING TIMESTAMP after the
CREATE, so that old SSTables with a dropped column stay readable), and views as a comment where they belong to a base.
"""

import re
from collections.abc import Iterator

_PART = re.compile(
    r"""(?P<string>'(?:[^']|'')*') | (?P<name>"(?:[^"]|"")*") | (?P<dollars>\$\$.*?\$\$)
      | (?P<comment>--[^\n]*|//[^\n]*|/\*.*?\*/) | (?P<end>;) | (?P<text>[^'"$;/-]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_ID = re.compile(r"\bWITH\s+ID\s*=\s*[0-9a-fA-F-]{36}\s*(?P<more>AND\s+)?")


def quote(name: str) -> str:
    """The name as CQL takes it whatever it is: always in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def unquote(name: str) -> str:
    """The real name of one that DESCRIBE printed, quoted or not."""
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return name[1:-1].replace('""', '"')
    return name


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for match in _PART.finditer(text):
        yield match.lastgroup or "text", match.group()


def statements(text: str) -> list[str]:
    """The single statements of a text, without comments and semicolons; quoted texts and $$ bodies stay whole."""
    found: list[str] = []
    current: list[str] = []
    for kind, part in _parts(text):
        if kind == "end":
            found.append("".join(current).strip())
            current = []
        elif kind != "comment":
            current.append(part)
    found.append("".join(current).strip())
    return [statement for statement in found if statement]


def without_id(statement: str) -> str:
    """The CREATE statement of a table or view without `WITH ID = …`: Cassandra then gives it a new id."""
    result: list[str] = []
    removed = False
    plain_text: list[str] = []
    for kind, part in [*_parts(statement), ("string", "")]:
        if kind in ("text", "end"):
            plain_text.append(part)
            continue
        text = "".join(plain_text)
        plain_text = []
        if not removed:
            text, count = _ID.subn(lambda match: "WITH " if match["more"] else "", text, count=1)
            removed = count == 1
        result += [text, part]
    return "".join(result).strip()
