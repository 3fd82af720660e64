"""Promise: a disk that is really full and a process that is really killed leave whole objects or none."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.storage.local.storage import LocalStorage

FULL = """
import asyncio, pathlib, subprocess, sys
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import DestinationFull

async def main(root):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", root], check=True)
    store = LocalStorage(pathlib.Path(root))
    stored = 0
    try:
        for number in range(100):
            await store.put(f"a/{number:03d}", [bytes(300_000)])
            stored += 1
        print("never full")
    except DestinationFull as error:
        listed = [entry.size async for entry in store.list("")]
        left = len(list((pathlib.Path(root) / ".helenus-tmp").iterdir()))
        await store.delete([f"a/{number:03d}" for number in range(stored)])
        again = await store.put("b", [bytes(300_000)])
        assert "is full (" in error.message, error.message
        print(error.code, stored > 2, listed == [300_000] * stored, left, again.created)
    await store.close()

asyncio.run(main(sys.argv[1]))
"""

ENDLESS = """
import asyncio, hashlib, os, pathlib, sys
from agent.storage.local.storage import LocalStorage

async def main(root):
    store = LocalStorage(pathlib.Path(root))
    print("ready", flush=True)
    async def stream():
        while True:
            content = os.urandom(400_000)
            await store.put(f"d/{hashlib.sha256(content).hexdigest()}", [content])
    await asyncio.gather(*(stream() for _ in range(8)))

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_is_named_and_usable_again_after_deletes(tmp_path: Path) -> None:
    """On a tmpfs of 2 MB, in a mount namespace of its own."""
    argv = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "destination_full True True 0 True", done.stderr


async def test_a_killed_writer_leaves_only_whole_objects(tmp_path: Path) -> None:
    """kill -9 in the midst of eight streams: every listed object has the bytes of its name."""
    child = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("d/*"))) < 20 and time.monotonic() < deadline:  # noqa: ASYNC110 # a child sets no event
        await asyncio.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    store = LocalStorage(tmp_path)
    entries = [entry async for entry in store.list("")]
    assert len(entries) >= 20
    for entry in entries:
        assert entry.key == f"d/{hashlib.sha256(await store.get(entry.key)).hexdigest()}"
    await store.close()
