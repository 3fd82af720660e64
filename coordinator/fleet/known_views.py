"""Backups that were listed before. In: the text of each entry of a listing. Out: what it says, decoded once as long as
the text stays the same.

Of a thousand nodes an entry has 400 KB, and decoding it takes two milliseconds; but a backup that has ended stays as it
is, and people look at the same ten again and again.
"""

import msgspec

from agent.wire.backups import BackupView

MOST_KEPT = 8 * 1024 * 1024
"""Bytes of text; with what it says about four times as much."""
_LARGE = 16 * 1024
"""Bytes from which on an entry is worth keeping."""
_BEGINNING = 128
"""Bytes of an entry that tell it from most others: its tag is in them."""

_decode = msgspec.json.Decoder(BackupView).decode


class KnownViews:
    """Keeps the entries that were looked at last. What it gives is shared: nobody changes it."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._views: dict[tuple[int, bytes], tuple[bytes, BackupView]] = {}  # the longest ago first
        self._kept = 0

    def view(self, text: bytes) -> BackupView:
        """What the entry says. Raises what decoding raises."""
        if len(text) < _LARGE:
            return _decode(text)
        key = (len(text), text[:_BEGINNING])
        known = self._views.get(key)
        if known is None or known[0] != text:
            known = text, _decode(text)
        if self._views.pop(key, None) is None:
            self._kept += len(text)
        self._views[key] = known  # as the one that was looked at last
        while self._kept > self._most:
            oldest = next(iter(self._views))
            self._kept -= len(self._views.pop(oldest)[0])
        return known[1]
