"""A point in time as clients write it. In: a JSON number of any form, or its text. Out: microseconds since 1970, exact:
no float comes near it. Pure."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from coordinator.opscenter import quirks

MICROS = 1_000_000
_DECIMAL = re.compile(r"\s*\+?(?:\d{1,30}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)


def read_point(value: Any, field: str, now: float) -> tuple[int, str]:
    """The point, and a warning ("" = none) where it was written finer than microseconds: it is cut, for a write of
    after it must not come in. `now`: unix seconds. Raises `InvalidArguments` for what is no time, and for the future.
    """
    if value is None or value == "":
        raise quirks.refuse(field, "is missing: give the point in unix seconds, fractions down to microseconds count")
    written = str(value) if isinstance(value, (int, Decimal, str)) and not isinstance(value, bool) else ""
    if not _DECIMAL.fullmatch(written):
        hint = "`date -u -d '2026-03-01 02:17:04.5 UTC' +%s.%6N` makes one of a date"
        raise quirks.refuse(field, f"must be a time in unix seconds, not {quirks.shown(value)}: {hint}")
    micros = Fraction(written.strip()) * MICROS
    point = micros.numerator // micros.denominator
    latest = round(now * MICROS)
    if latest < point <= latest * 1_000:
        hint = " (it looks like milliseconds: give seconds)" if point > latest * 100 else ""
        raise quirks.refuse(field, f"lies in the future{hint}: {quirks.shown(value)}")
    if not 0 < point <= latest:
        raise quirks.refuse(field, f"is no time in unix seconds: {quirks.shown(value)}")
    if micros != point:
        return point, f"«{field}» is finer than a microsecond: cut to {point // MICROS}.{point % MICROS:06d}"
    return point, ""
