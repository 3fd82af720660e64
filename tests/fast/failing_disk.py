"""A disk that refuses: paths on which a look gives an error, whoever looks (rights say nothing to root)."""

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LOOKS = ("stat", "scandir", "open")


class FailingDisk:
    """Nothing fails until it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._failing: dict[str, tuple[int, tuple[str, ...]]] = {}
        for module, name in ((os, "stat"), (os, "scandir"), (io, "open"), (builtins, "open")):
            monkeypatch.setattr(module, name, self._refusing(name, getattr(module, name)))

    def fail(self, path: Path | str, number: int, *looks: str) -> None:
        """From now on looks (all, or those named) at `path` and what is below give that errno."""
        self._failing[str(path)] = (number, looks or LOOKS)

    def heal(self) -> None:
        """Nothing fails any more."""
        self._failing.clear()

    @contextmanager
    def for_nobody(self) -> Iterator[None]:
        """Whoever looks in this block may: Cassandra is another user."""
        failing, self._failing = self._failing, {}
        yield
        self._failing = failing

    def _refusing(self, look: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def looked(path: Any = ".", *arguments: Any, **named: Any) -> Any:
            text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
            for failing, (number, looks) in self._failing.items():
                if look in looks and (text == failing or text.startswith(f"{failing}/")):
                    raise OSError(number, os.strerror(number), text)
            return really(path, *arguments, **named)

        return looked
