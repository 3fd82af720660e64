"""The C library's settings, each in a process of its own."""

import subprocess
import sys

PIECE_MIB = 8
THREADS = 12
PROGRAM = f"""
import sys, threading
from agent.daemon.allocator import share_one_arena
if sys.argv[1] == "shared":
    share_one_arena()
gate, done = threading.Lock(), threading.Barrier({THREADS} + 1)
def fetch():
    for _ in range(2):
        with gate:
            piece = bytearray(b"x") * ({PIECE_MIB} << 20)
            del piece
    done.wait()
    done.wait()
def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) // 1024
before = resident()
for _ in range({THREADS}):
    threading.Thread(target=fetch).start()
done.wait()
print(resident() - before)
done.wait()
"""


def grown_mib(how: str) -> int:
    """MiB that a process grows by when so many threads take and drop a piece in turn."""
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout)


def test_threads_take_over_the_memory_that_others_freed() -> None:
    """Peak memory stays under the bar however many streams there are: freed pieces are used again by other threads."""
    assert grown_mib("shared") <= 4 * PIECE_MIB
    assert grown_mib("as it comes") > 4 * PIECE_MIB


ENDED = """
import asyncio, sys
from agent.daemon.allocator import give_back, giving_back, share_one_arena
share_one_arena()
def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) // 1024
async def job(context):
    taken = [b"x" * (200_000 if number % 2 else 20_000) for number in range(600)]
    kept.extend(taken[::2])
kept = []
async def main():
    before = resident()
    await (giving_back(job) if sys.argv[1] == "given back" else job)(None)
    await asyncio.get_running_loop().shutdown_default_executor()
    print(resident() - before)
asyncio.run(main())
"""


def test_what_a_command_took_is_given_back_when_it_has_ended() -> None:
    """An idle agent leaves the memory to Cassandra, although small things that stay lie between what was freed."""

    def grown(how: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", ENDED, how], check=True, capture_output=True, text=True).stdout
        )

    assert grown("as it comes") > 40
    assert grown("given back") < 20
