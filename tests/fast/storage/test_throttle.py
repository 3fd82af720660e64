"""Promise: a limit is kept within ±5 % over 10 s, no second carries more than 1.5 times the limit, changes are live."""

import threading
from collections.abc import Callable

import pytest

from agent.storage.protocol import OPEN
from agent.storage.threads import Stop, Stopped
from agent.storage.throttle import CHECK_SECONDS, STEP, Gates, TokenBucket, is_free, rate_of, streams_for
from tests.fast.storage.virtual_time import VirtualTime

MEGA = 1_000_000
Flow = list[tuple[float, int]]


def run(streams: int, seconds: float, make: Callable[[VirtualTime], Callable[[int], None]], step: int = STEP) -> Flow:
    """What flowed when, with so many streams that always have more to send."""
    time = VirtualTime(streams)
    pass_bytes = make(time)
    flow: Flow = []

    def stream() -> None:
        while time.clock() < seconds:
            pass_bytes(step)
            flow.append((time.clock(), step))
        time.leave()

    threads = [threading.Thread(target=stream, daemon=True) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return sorted(flow)


def between(flow: Flow, start: float, end: float) -> int:
    return sum(count for at, count in flow if start <= at < end)


def worst_second(flow: Flow, until: float) -> int:
    return max(between(flow, at, at + 1) for at, _ in flow if at + 1 <= until)


@pytest.mark.parametrize("megabytes", [1, 4, 16])
@pytest.mark.parametrize("streams", [1, 16])
def test_a_limit_is_kept_over_ten_seconds_and_in_each_of_them(megabytes: int, streams: int) -> None:
    """Promise: one stream or sixteen: the limit holds within 5 %, and no second bursts."""
    rate = megabytes * MEGA
    flow = run(streams, 10, lambda time: TokenBucket(rate, clock=time.clock, wait=time.wait).pass_bytes)
    assert between(flow, 0, 10) == pytest.approx(10 * rate, rel=0.05)
    assert worst_second(flow, 10) <= 1.5 * rate


def test_an_idle_bucket_saves_up_no_burst() -> None:
    """After an idle hour the first second still carries at most 1.5 times the limit."""
    now = [0.0]

    def wait(condition: threading.Condition, seconds: float | None) -> None:
        now[0] += seconds or 0

    bucket = TokenBucket(MEGA, clock=lambda: now[0], wait=wait)
    bucket.pass_bytes(STEP)
    now[0] += 3600
    since, passed = now[0], 0
    while now[0] < since + 1:
        bucket.pass_bytes(STEP)
        passed += STEP
    assert passed <= 1.2 * MEGA


def test_streams_share_a_limit_fairly() -> None:
    """Of four streams none gets more than 1.2 times what another gets."""
    time = VirtualTime(4)
    bucket = TokenBucket(4 * MEGA, clock=time.clock, wait=time.wait)
    passed = [0, 0, 0, 0]

    def stream(number: int) -> None:
        while time.clock() < 5:
            bucket.pass_bytes(STEP)
            passed[number] += STEP
        time.leave()

    threads = [threading.Thread(target=stream, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(passed) <= 1.2 * min(passed)


def test_a_count_larger_than_the_bucket_takes_its_time_and_no_more() -> None:
    """50 MB at 10 MB/s take 5 s, less the tenth of a second that an idle bucket holds at most."""
    time = VirtualTime(1)
    bucket = TokenBucket(10 * MEGA, clock=time.clock, wait=time.wait)
    bucket.pass_bytes(50 * MEGA)
    assert 4.8 <= time.clock() <= 5.0


def test_a_higher_limit_wakes_those_who_wait_already() -> None:
    """A thread that would have waited for hours passes as soon as the limit is lifted, in real time."""
    bucket = TokenBucket(1000)
    passed = threading.Event()

    def stream() -> None:
        bucket.pass_bytes(100 * MEGA)
        passed.set()

    threading.Thread(target=stream, daemon=True).start()
    assert not passed.wait(0.05)
    bucket.set_rate(0)
    assert passed.wait(30)
    assert bucket.rate == 0
    bucket.pass_bytes(10**15)


def test_a_lower_limit_holds_from_the_moment_it_is_set() -> None:
    """4 MB/s for five seconds, then 1 MB/s for five: 25 MB in all."""
    changed = threading.Event()

    def make(time: VirtualTime) -> Callable[[int], None]:
        bucket = TokenBucket(4 * MEGA, clock=time.clock, wait=time.wait)

        def pass_bytes(count: int) -> None:
            bucket.pass_bytes(count)
            if time.clock() >= 5 and not changed.is_set():
                changed.set()
                bucket.set_rate(MEGA)

        return pass_bytes

    flow = run(4, 10, make)
    assert between(flow, 0, 5) == pytest.approx(20 * MEGA, rel=0.05)
    assert between(flow, 5, 10) == pytest.approx(5 * MEGA, rel=0.1)


def test_a_limit_set_after_free_flow_owes_nothing() -> None:
    """What passed without a limit is not paid for later."""
    time = VirtualTime(1)
    bucket = TokenBucket(0, clock=time.clock, wait=time.wait)
    bucket.pass_bytes(10**12)
    bucket.set_rate(MEGA)
    bucket.pass_bytes(MEGA)
    assert time.clock() == pytest.approx(1.0, abs=0.11)


def test_the_strictest_of_several_gates_decides() -> None:
    """Node 16 MB/s and destination 4 MB/s together let 4 MB/s through."""

    def make(time: VirtualTime) -> Callable[[int], None]:
        buckets = [TokenBucket(rate * MEGA, clock=time.clock, wait=time.wait) for rate in (16, 4)]
        return Gates(*buckets).pass_bytes

    flow = run(4, 10, make)
    assert between(flow, 0, 10) == pytest.approx(40 * MEGA, rel=0.05)
    assert worst_second(flow, 10) <= 1.5 * 4 * MEGA


def test_a_gate_is_free_only_while_no_limit_is_set() -> None:
    """Buckets without a limit cost no small pieces; a limit set later is seen by the next call."""

    class Foreign:
        def pass_bytes(self, count: int) -> None:
            return None

    bucket, other = TokenBucket(0), TokenBucket(0)
    assert is_free(OPEN)
    assert is_free(Gates(bucket, Gates(other, OPEN)))
    assert not is_free(Foreign())
    other.set_rate(MEGA)
    assert not is_free(Gates(bucket, Gates(other)))


def test_a_negative_limit_is_refused() -> None:
    """Promise: a limit is 0 (none) or positive."""
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(-1)
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(1).set_rate(-1)


def test_each_stream_keeps_a_quarter_of_a_mebibyte_per_second() -> None:
    """Promise: a low limit makes fewer streams, not slower ones."""
    assert streams_for(0, 16) == 16
    assert streams_for(1, 16) == 1
    assert streams_for(1 * MEGA, 16) == 3
    assert streams_for(4 * MEGA, 16) == 15
    assert streams_for(100 * MEGA, 16) == 16


def test_a_wait_ends_when_nobody_wants_it_and_gives_its_place_back() -> None:
    """A cancelled transfer does not sit out its share of a low limit, nor cost the others theirs."""
    now = [0.0]
    waits: list[float] = []

    def wait(condition: threading.Condition, seconds: float | None) -> None:
        waits.append(seconds or 0)
        now[0] += seconds or 0
        if len(waits) == 3:
            stop.set()

    stop = Stop()
    bucket = TokenBucket(1000, clock=lambda: now[0], wait=wait)
    with pytest.raises(Stopped):
        Gates(OPEN, bucket).pass_bytes(1_000_000, stop.check)
    assert waits == [CHECK_SECONDS] * 3
    bucket.pass_bytes(1000)
    assert now[0] <= 3 * CHECK_SECONDS + 1


def test_the_rate_of_gates_is_that_of_the_narrowest() -> None:
    """Promise: of several limits the lowest counts, none is no limit."""
    slow, fast, none = TokenBucket(1_000), TokenBucket(5_000), TokenBucket(0)
    assert rate_of(Gates(fast, Gates(slow, none))) == 1_000
    assert rate_of(Gates(none, OPEN)) == 0
