"""A process that dies before one of its operations on the disk: from then on nothing of it happens any more."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "chmod", "fchmod", "chown", "fchown", "fsync")


class Killed(BaseException):
    """kill -9: no `except Exception` sees it."""


class MortalDisk:
    """Counts what changes the disk. `fsync` is counted and not done: what the page cache holds survives a kill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        self._dead = False
        self.count = 0
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._mortal(name, getattr(os, name)))
        monkeypatch.setattr(os, "open", self._opened(os.open))

    @contextmanager
    def dying_before(self, operation: int) -> Iterator[None]:
        """In this block the process is killed before that operation, the first is 1."""
        self._left, self._dead, self.count = operation, False, 0
        try:
            yield
        finally:
            self._left, self._dead = None, False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """In this block operations are counted, and nobody dies."""
        self.count = 0
        yield

    def _mortal(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def happened(*arguments: Any, **named: Any) -> Any:
            self._happen()
            return None if name == "fsync" else really(*arguments, **named)

        return happened

    def _opened(self, really: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
            if flags & os.O_CREAT:
                self._happen()
            return really(path, flags, *arguments, **named)

        return opened

    def _happen(self) -> None:
        if self._dead:
            raise Killed
        self.count += 1
        if self._left is not None and self.count >= self._left:
            self._dead = True
            raise Killed
