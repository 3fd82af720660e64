"""What a script said, for people. In: bytes of anything. Out: the end of it, as text that does nothing to a terminal or
a log and holds no secret of the agent's."""

import unicodedata
from collections.abc import Callable

SHOWN = 4_000
"""Characters, the last ones."""
_LINE = 300

_HARMLESS = frozenset("\n\t")


def in_words(said: bytes, redact: Callable[[str], str]) -> str:
    """The end of what was said; control and format characters are shown as «?». Secrets go before it is cut: half a
    secret isn't known as one."""
    text = redact(said.decode(errors="replace").replace("\r\n", "\n"))
    return "".join(letter if _shows(letter) else "?" for letter in text[-SHOWN:]).strip()


def last_line(output: str) -> str:
    """What a message says of the output: its last line, behind a colon."""
    last = output.rpartition("\n")[2].strip()
    return f": {last[:_LINE]}" if last else ""


def _shows(letter: str) -> bool:
    """Whether it shows, and lets what is beside it show as it is."""
    return letter in _HARMLESS or not unicodedata.category(letter).startswith("C")
