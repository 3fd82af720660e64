"""The loop that serves few ready connections in one turn."""

import asyncio
import selectors
import socket
from contextlib import ExitStack

import pytest

from kit.fair_loop import FewAtATime, fair_loop

PAIRS = 100
FEW = 8


def test_of_many_ready_files_all_have_their_turn() -> None:
    """Promise: no more than the limit are told at a time, and none is told again before the others were."""
    with ExitStack() as stack:
        selector = FewAtATime(FEW)
        stack.callback(selector.close)
        pairs = [socket.socketpair() for _ in range(PAIRS)]
        for one, other in pairs:
            stack.enter_context(one)
            stack.enter_context(other)
            other.send(b"ready")  # nobody reads it: the file stays ready
            selector.register(one.fileno(), selectors.EVENT_READ, one)
        seen: list[object] = []
        while len(seen) < PAIRS:
            told = selector.select(0)
            assert 0 < len(told) <= FEW
            assert all(events == selectors.EVENT_READ for _, events in told)
            seen += [key.data for key, _ in told]
        assert len(set(seen[:PAIRS])) == PAIRS


def test_files_are_registered_changed_and_forgotten() -> None:
    """Promise: it keeps to what asyncio expects of a selector, also of a file that was closed first."""
    one, other = socket.socketpair()
    selector = FewAtATime()
    with other:
        key = selector.register(one, selectors.EVENT_READ, "reads")
        assert selector.get_key(one) == selector.get_map()[one.fileno()] == key
        with pytest.raises(KeyError):
            selector.register(one.fileno(), selectors.EVENT_READ)
        assert selector.get_map()[one] == selector.get_map().get(one) == key
        assert (selector.get_map().get(other), selector.get_map().get(other.fileno())) == (None, None)
        assert ([*selector.get_map()], len(selector.get_map())) == ([one.fileno()], 1)
        assert selector.select(0.01) == []
        changed = selector.modify(one, selectors.EVENT_READ | selectors.EVENT_WRITE, "both")
        assert selector.select(0) == [(changed, selectors.EVENT_WRITE)]
        number = one.fileno()
        one.close()
        assert selector.get_map().get(one) is None
        assert selector.unregister(number).data == "both"
        with pytest.raises(KeyError):
            selector.get_key(number)
    selector.close()


def test_a_file_itself_can_be_listened_to_again() -> None:
    """Promise: on every Python that is supported a reader of a file, named by the file and not by its number, can be
    replaced and removed."""
    loop = fair_loop()
    heard: list[str] = []

    async def listen() -> None:
        with one, other:
            loop.add_reader(one, heard.append, "former")
            loop.add_reader(one, lambda: heard.append(one.recv(9).decode()))
            other.send(b"word")
            async with asyncio.timeout(10):
                while not heard:  # noqa: ASYNC110 - the loop's own reader is what is tried
                    await asyncio.sleep(0)
            assert loop.remove_reader(one)
            assert not loop.remove_reader(one)

    one, other = socket.socketpair()
    try:
        loop.run_until_complete(listen())
    finally:
        loop.close()
    assert heard == ["word"]


def test_a_thousand_talkers_hold_up_no_timer() -> None:
    """Promise: while many connections have something to say at once, what is due comes between them."""
    loop = fair_loop()

    async def crowd() -> tuple[int, int]:
        pairs = [socket.socketpair() for _ in range(PAIRS)]
        heard: list[int] = []
        turns: set[int] = set()
        over = asyncio.Event()
        turn = 0

        def read(number: int) -> None:
            pairs[number][0].recv(100)
            heard.append(number)
            turns.add(turn)
            if len(heard) == PAIRS:
                over.set()

        def turned() -> None:
            nonlocal turn
            turn += 1
            if not over.is_set():
                loop.call_soon(turned)

        for number, (one, other) in enumerate(pairs):
            other.send(b"word")
            loop.add_reader(one.fileno(), read, number)
        loop.call_soon(turned)
        await over.wait()
        for one, other in pairs:
            loop.remove_reader(one.fileno())
            one.close()
            other.close()
        return len(heard), len(turns)

    try:
        heard, turns = loop.run_until_complete(crowd())
    finally:
        loop.close()
    assert heard == PAIRS
    assert turns > PAIRS // 20
