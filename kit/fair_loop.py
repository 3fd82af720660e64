"""An event loop that goes on answering while thousands of connections have something to say. In: nothing. Out: a loop.

asyncio carries out everything that is ready before it looks at timers and at its files again. With a thousand streams
that all have data, as after a pause of the process or at the end of a step that a thousand nodes do side by side, such
a turn lasts a second. Here a turn takes few of them; the kernel tells of the others first in the next one.
"""

import asyncio
import contextlib
import math
import select
import selectors
from collections.abc import Iterator, Mapping
from typing import Any

READY_AT_ONCE = 8
"""Connections with something to read, or with room to write, that are served in one turn of the loop. An answer takes
some turns (the store, the slices of its work), and an agent's report more than a millisecond of one."""


class FewAtATime(selectors.BaseSelector):
    """Tells of few ready files at a time. Needs Linux' epoll."""

    def __init__(self, at_once: int = READY_AT_ONCE) -> None:
        self._epoll = select.epoll()
        self._at_once = at_once
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector."""
        key = selectors.SelectorKey(fileobj, _number(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        self._epoll.register(key.fd, _asked(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As BaseSelector."""
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        with contextlib.suppress(OSError):  # it was closed before: then the kernel has forgotten it
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector."""
        key = self.get_key(fileobj)
        if events != key.events:
            self._epoll.modify(key.fd, _asked(events))
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As BaseSelector, but a few at most: those that are left out come first the next time."""
        # In whole milliseconds, never less than asked for.
        seconds = -1.0 if timeout is None else math.ceil(max(0.0, timeout) * 1e3) * 1e-3
        found = []
        for file, told in self._epoll.poll(seconds, self._at_once):
            key = self._keys.get(file)
            if key is not None:
                events = selectors.EVENT_WRITE if told & ~select.EPOLLIN else 0
                events |= selectors.EVENT_READ if told & ~select.EPOLLOUT else 0
                found.append((key, events & key.events))
        return found

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """As BaseSelector."""
        try:
            return self._keys[_number(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As BaseSelector: by the file or its number. Since Python 3.13 asyncio asks it what is registered."""
        return _ByFile(self._keys)

    def close(self) -> None:
        """As BaseSelector."""
        self._epoll.close()
        self._keys.clear()


class _ByFile(Mapping[Any, selectors.SelectorKey]):
    """The keys of files that may be named by their number or be the files themselves."""

    def __init__(self, keys: Mapping[int, selectors.SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, file: Any) -> selectors.SelectorKey:
        try:
            return self._keys[_number(file)]
        except ValueError:  # it was closed, and has no number any more
            raise KeyError(file) from None

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def fair_loop() -> asyncio.AbstractEventLoop:
    """A new loop; where the kernel has no epoll, the usual one."""
    return asyncio.SelectorEventLoop(FewAtATime()) if hasattr(select, "epoll") else asyncio.new_event_loop()


def _number(file: Any) -> int:
    """The number of an open file."""
    return file if isinstance(file, int) else int(file.fileno())


def _asked(events: int) -> int:
    asked = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return asked | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)
