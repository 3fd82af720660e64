"""What this process has open. In: nothing. Out: the number of its files, without those below /proc: a thread of the
tests looks there for secrets (`canaries`), whenever it likes."""

import contextlib
import os


def open_files() -> int:
    """How many it has now."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return sum(not target.startswith("/proc/") for target in targets)
