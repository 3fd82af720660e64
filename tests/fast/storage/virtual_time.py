"""Virtual time for threads. Time stands still while any of them works, and jumps to the next deadline when all wait."""

import threading


class VirtualTime:
    """A clock shared by `threads` threads, each of which must either work, wait here, or have called `leave`."""

    def __init__(self, threads: int) -> None:
        self._guard = threading.Lock()
        self._working = threads
        self._deadlines: dict[int, float] = {}
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Stand in for `condition.wait(seconds)`; the caller holds the condition and looks again after each return."""
        assert seconds is not None
        mine = threading.get_ident()
        with self._guard:
            until = self._now + seconds
            self._deadlines[mine] = until
            self._working -= 1
            jump = self._working == 0 and min(self._deadlines.values()) > self._now
            if jump:
                self._now = min(self._deadlines.values())
        if jump:
            condition.notify_all()
        if self._now < until:
            condition.wait(0.02)  # woken by a jump or a change of rate; the time is for those on another condition
        with self._guard:
            del self._deadlines[mine]
            self._working += 1

    def leave(self) -> None:
        """The calling thread will not wait again."""
        with self._guard:
            self._working -= 1
