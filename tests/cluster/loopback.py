"""A loopback of one's own, for programs whose addresses are fixed: there they clash with nobody's.

In: a directory for its log. Out: a process that holds a network with loopback alone, until it is left, and what stands
in front of an argument list to run in it. Needs root.
"""

import fcntl
import signal
import socket
import struct
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.places import REPOSITORY
from tests.cluster.processes import Child

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


class OwnLoopback:
    """`async with OwnLoopback(directory) as network`; end what runs in it before."""

    def __init__(self, directory: Path) -> None:
        argv = ["unshare", "--net", sys.executable, "-m", "tests.cluster.loopback"]
        self._holder = Child("a network of its own", argv, directory / "loopback.log", cwd=REPOSITORY)

    @property
    def prefix(self) -> list[str]:
        """Put it in front of an argument list."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    async def __aenter__(self) -> Self:
        self._holder.start()

        async def up() -> bool:
            return "up" in self._holder.log.read_text().split()

        await self._holder.until("holding it", up, 30)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._holder.kill()


def main() -> None:
    """Set loopback up and wait to be ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    print("up", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
