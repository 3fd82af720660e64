"""OpsCenter's ways of spelling input, all in one place. In: what a client sent. Out: plain values, or an error that
names the field.

Bodies are JSON whatever the Content-Type says, also of a DELETE; `column-families` and `column_families` are one;
numbers and booleans may come as text; a throttle is in MB/s (1,000,000 bytes per second); where one value is asked for,
absent and null are one, and an empty text, as a script's unset variable makes it, is refused: taken for «absent» it
would mean another place, or everything. Where a list is asked for, one text is a list of it.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from coordinator.model.errors import InvalidArguments, NoSuchCluster
from coordinator.model.tags import is_tag
from kit.json_bodies import refuse_repeated_keys

NAME = re.compile(r"[A-Za-z0-9_]{1,222}", re.ASCII)
"""Cassandra's names of keyspaces (48 at most there) and tables, quoted ones too: quotes keep the case, no more."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_WHOLE = re.compile(r"\s*-?\d{1,18}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*\+?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)
_SEVERAL = re.compile(r"[\s,;\[{]")
"""What stands in a text that means several names: between them, or before a list that was sent as a text."""
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})
MEGABYTE = 1_000_000
MOST_MEGABYTES = 1_000_000
MOST_ENTRIES = 10_000
"""Longer lists are no order that a person gave."""
SHOWN = 80
"""Characters of a refused text that an error repeats."""

LIST = "a JSON list or a text"
EITHER = "a JSON list, an object or a text"
"""What a field may be, for who sent something else."""

RESERVED_KEYSPACES = frozenset({"pit"})
"""GET /backups/<this> has another meaning, so it is no keyspace's name there."""
ORDERS = {
    "run": "to run a backup",
    "sync": "to copy a backup to destinations",
    "scrub": "to read again what is stored",
    "pit_check": "to check a point in time",
}
"""What a POST to /backups/<this> is for; a GET asks for the backups of a keyspace of that name."""


def refuse(field: str, why: str, **fields: object) -> InvalidArguments:
    """The error for a field."""
    return InvalidArguments(f"«{field}» {why}", field=field, **fields)


def shown(value: object) -> str:
    """A refused value as an error may repeat it: short, without control characters, and some word for an empty one."""
    if value == "":
        return "an empty text"
    text = _CONTROL.sub("?", json.dumps(value) if value is None or isinstance(value, bool) else str(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def meant(value: object, known: Iterable[str]) -> str:
    """« (did you mean …?)» with the word of `known` that is spelt most like the value, whatever its case; else ""."""
    words = {word.lower(): word for word in known}
    near = difflib.get_close_matches(shown(value).lower(), words, 1)
    return f" (did you mean «{words[near[0]]}»?)" if near else ""


@web.middleware
async def one_value_each(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a query parameter that is given twice: which of the two counts nobody could tell."""
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise refuse(shown(name), "is given twice in the query")
    return await handler(request)


def no_query(request: web.Request) -> None:
    """Refuse options of a POST in its query: unread there, a `keyspaces` or `truncate` would do another thing."""
    for name in request.query:
        raise refuse(shown(name), "stands in the query; the options of a POST stand in its body")


def no_empty_end(request: web.Request, field: str, otherwise: str) -> None:
    """Refuse a path that ends in a slash where a name may follow: an unset name would order more than was meant."""
    if request.path.endswith("/"):
        raise refuse(field, f"is empty: name it, or leave the slash at the end out to {otherwise}")


_exact = msgspec.json.Decoder(float_hook=Decimal).decode


async def read_body(request: web.Request, *, exact: bool = False) -> dict[str, Any]:
    """The body as a JSON object with underscores for hyphens in its keys; nothing sent = {}. `exact`: a number with a
    fraction or an exponent is a Decimal of its very digits, not the float next to it."""
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = _exact(raw) if exact else msgspec.json.decode(raw)
        refuse_repeated_keys(raw)
    except RecursionError:
        raise InvalidArguments("the body is nested too deeply", field="body") from None
    except (msgspec.DecodeError, ValueError) as error:
        if _SURROGATE.search(raw) and _is_json(raw):
            raise InvalidArguments(
                "the body holds half of a surrogate pair (\\ud800 to \\udfff), which is no character", field="body"
            ) from None
        raise InvalidArguments(f"the body is not JSON: {error}", field="body") from None
    if not isinstance(body, dict):
        raise InvalidArguments(f"the body must be a JSON object, not {_kind(body)}", field="body")
    return canonical(body)


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def canonical(body: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """The same with underscores for hyphens in its keys. A key given in both spellings is refused."""
    result: dict[str, Any] = {}
    for key, value in body.items():
        name = key.replace("-", "_")
        if name in result:
            raise refuse(inside + shown(key), "is given twice, with hyphen and underscore")
        result[name] = value
    return result


def allow_only(body: Mapping[str, Any], allowed: Iterable[str], inside: str = "") -> None:
    """Refuse unknown fields by name: a misspelt option must not do another thing than was meant."""
    known = sorted(allowed)
    for key in body:
        if key not in known:
            raise refuse(inside + shown(key), f"is no option here{meant(key, known)}; allowed: {', '.join(known)}")


def as_bool(value: object, field: str, *, default: bool = False) -> bool:
    """true, false, 1, 0, and their texts in any case."""
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise refuse(field, f"must be true or false, not {shown(value)}")


def is_asked(value: str | None) -> bool:
    """`remove_destination`: OpsCenter's own page sent a sentence here, so that only a clear yes is one."""
    return value is not None and value.strip().lower() in _TRUE


def as_int(value: object, field: str, *, least: int = 0, default: int | None = None) -> int | None:
    """A whole number, also as text."""
    if value is None:
        return default
    if value == "":
        raise refuse(field, "is empty; leave it out, or give a whole number")
    number: int | None = None
    if isinstance(value, str):
        number = int(value) if _WHOLE.fullmatch(value) else None
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1:
        number = int(value)
    if number is None:
        raise refuse(field, f"must be a whole number, not {shown(value)}")
    if number < least or number >= 1 << 63:
        raise refuse(field, f"must be {least} or more, not {shown(value)}")
    return number


def as_bytes_per_second(value: object, field: str) -> int:
    """A throttle in MB/s, also a fraction or a text, as bytes per second; 0 = none."""
    if value is None or value == "":
        return 0
    written = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    # Python's own reading of a text takes more than a number: 1_000, other scripts' digits.
    megabytes = float(written) if _NUMBER.fullmatch(written) else math.nan
    if not 0 <= megabytes <= MOST_MEGABYTES:
        raise refuse(field, f"must be a number of MB/s from 0 (none) to {MOST_MEGABYTES}, not {shown(value)}")
    if 0 < megabytes < 1 / MEGABYTE:
        raise refuse(field, "is less than a byte per second")
    return int(megabytes * MEGABYTE)


def as_seconds(value: object, field: str, *, most: float) -> float:
    """Seconds, also a fraction or a text; absent, null or empty = 0."""
    if value is None or value == "":
        return 0.0
    written = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    seconds = float(written) if _NUMBER.fullmatch(written) else math.nan
    if not 0 <= seconds <= most:
        raise refuse(field, f"must be a number of seconds from 0 to {most:.0f}, not {shown(value)}")
    return seconds


def as_text(value: object, field: str, *, most: int = 1024) -> str:
    """A text without control characters."""
    if not isinstance(value, str):
        raise refuse(field, f"must be a text, not {_kind(value)}")
    if len(value) > most:
        raise refuse(field, f"is longer than {most} characters")
    if _CONTROL.search(value):
        raise refuse(field, "holds a control character")
    return value


def as_filter(value: object, field: str) -> str | None:
    """A text that narrows an answer; absent or null = no such limit."""
    if value is None:
        return None
    text = as_text(value, field)
    if not text:
        raise refuse(field, "is empty; leave it out, or say what to look for")
    return text


def as_object(value: object, field: str, allowed: str = "a JSON object") -> dict[str, Any]:
    """A JSON object; null = {}. `allowed`: what else a caller takes, for the refusal, here and below."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse(field, f"must be {allowed}, not {_kind(value)}")
    if len(value) > MOST_ENTRIES:
        raise refuse(field, f"has more than {MOST_ENTRIES} entries")
    return value


def as_list(value: object, field: str, allowed: str = LIST) -> list[Any]:
    """A JSON list, or one text instead of a list of it; null = []."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise refuse(field, f"must be {allowed}, not {_kind(value)}")
    if len(value) > MOST_ENTRIES:
        raise refuse(field, f"has more than {MOST_ENTRIES} entries")
    return value


def as_texts(value: object, field: str) -> list[str]:
    """A list of texts, each once, in the order given; none of them empty."""
    texts = list(dict.fromkeys(as_text(entry, field) for entry in as_list(value, field)))
    if "" in texts:
        raise refuse(field, "holds an empty text")
    return texts


def as_name(value: object, field: str) -> str:
    """The name of a keyspace or table as Cassandra spells it."""
    text = as_text(value, field)
    if not NAME.fullmatch(text):
        raise refuse(
            field, f"is no name of Cassandra's (letters, digits and _, 1 to 222, without quotes): {shown(text)}"
        )
    return text


def as_names(value: object, field: str, allowed: str = LIST) -> list[str]:
    """A list of names, each once, in the order given."""
    if isinstance(value, str) and _SEVERAL.search(value):
        raise refuse(field, f'is one name when it is a text; several are a list, ["one", "two"]: {shown(value)}')
    return list(dict.fromkeys(as_name(entry, field) for entry in as_list(value, field, allowed)))


def as_chosen(value: object, field: str, allowed: str = LIST) -> list[str]:
    """The names that a restore is confined to; absent or null = no such limit, an empty list. One that is there and
    names nothing is refused: taken for «all» it would overwrite what nobody named."""
    if value is not None and not value:
        raise refuse(field, "names nothing; leave it out to restore all")
    return as_names(value, field, allowed)


def as_tag(value: object, field: str = "tag") -> str:
    """The name of a backup."""
    if value is None or value == "":
        raise refuse(field, "is missing")
    text = as_text(value, field)
    if not is_tag(text):
        raise refuse(
            field,
            f"is no name of a backup (letters, digits, _ . -, at most 200, not beginning with . or -): {shown(text)}",
        )
    return text


def as_one_of(value: object, field: str, known: Iterable[str]) -> str:
    """One of the words that are known here."""
    words = list(known)
    if isinstance(value, str) and value in words:
        return value
    allowed = f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    if value is None:
        raise refuse(field, f"is missing; it is {allowed}")
    raise refuse(field, f"must be {allowed}, not {shown(value)}{meant(value, words)}")


def as_destination_id(value: object, field: str = "destination") -> str:
    """The id of a destination: any text that might be one."""
    text = as_text(value, field, most=200)
    if not text:
        raise refuse(field, "is empty")
    return text


def find_cluster(clusters: Mapping[str, str], asked: str) -> str:
    """The id of the cluster that a path names by id or by name (`clusters`: id → name)."""
    if asked in clusters:
        return asked
    for cluster, name in clusters.items():
        if name == asked:
            return cluster
    raise NoSuchCluster(shown(asked))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        Decimal: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "that")
