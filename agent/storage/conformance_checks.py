"""The checks of the conformance suite, one function for each promise of the storage protocol.

In: a store and an empty prefix ending with `/`. Out: a remark, or `Broken` with what was promised and what happened, or
`Skipped`. Nothing here cleans up: `conformance` does.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from agent.storage.protocol import Entry, NotFound, Put, Storage, Transient, Truncated

Result = TypeVar("Result")

AT_ONCE = 16
MANY = 1100
LARGE = 20 * 1024 * 1024
PUTS = 8
ROUNDS = 20
REPEATS = 4
"""More rounds of the probe, for those whose winner's answer was lost."""
MOST_SKEW = 900.0
"""Seconds; with more S3 refuses signed requests, and ages of objects mean nothing."""


class Broken(Exception):
    """The store broke a promise; the text says which."""


class Skipped(Exception):
    """The store has no such capability, which is allowed; the text says so."""


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(otherwise)


def _named(names: Iterable[str]) -> str:
    """Them for a person."""
    return ", ".join(names) or "nothing"


def _told(found: Entry | None) -> str:
    """What head answered, for a person."""
    return "nothing" if found is None else f"{found.size} bytes of {found.key}"


async def _all(calls: Iterable[Coroutine[Any, Any, Result]], at_once: int = AT_ONCE) -> list[Result]:
    """The results of all calls, a few at a time; the first failure is raised when none runs any more."""
    turn = asyncio.Semaphore(at_once)

    async def one(call: Coroutine[Any, Any, Result]) -> Result:
        async with turn:
            return await call

    results: list[Result] = []
    for result in await asyncio.gather(*(one(call) for call in calls), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


async def missing_key(storage: Storage, prefix: str) -> str:
    """What is not there is said to be not there, by each verb in its way."""
    key = prefix + "nothing"
    _must(await storage.head(key) is None, "head told of a key that was never stored")
    _must([entry async for entry in storage.list(prefix)] == [], "the scratch prefix is not empty")
    try:
        await storage.get(key)
    except NotFound:
        pass
    else:
        raise Broken("get answered for a key that was never stored")
    await storage.delete([key])
    return ""


async def existing_key(storage: Storage, prefix: str) -> str:
    """A second put of a key leaves the first one's bytes alone and says so."""
    key = prefix + "once"
    first = await storage.put(key, [b"the first ", b"bytes"])
    new = "new" if first.created else "not new"
    _must(first == Put(created=True, size=15), f"the first put of 15 bytes is told as {first.size} bytes, {new}")
    second = await storage.put(key, [b"other bytes, and more of them"])
    _must(not second.created, "a second put of the same key claims to have created it")
    _must(second.size == 15, f"a second put tells {second.size} bytes for an object of 15")
    _must(await storage.get(key) == b"the first bytes", "a second put of the same key replaced its bytes")
    found = await storage.head(key)
    _must(found is not None and found.size == 15 and found.key == key, f"head answered {_told(found)}")
    return ""


async def exact_keys(storage: Storage, prefix: str) -> str:
    """Keys that differ little are different keys, a prefix is plain text, and the order is that of the bytes."""
    names = ["A/x", "a-1/x", "a.b", "a/x", "a/x y", "a/x%2Fy", "a/x+y", "a/x=1&y=2", "a0/x", "ab/x", "b~/'(x)!*;:@,$"]
    keys = sorted(prefix + name for name in names)
    await _all(storage.put(key, [key.encode()]) for key in keys)
    listed = [entry.key async for entry in storage.list(prefix)]
    _must(sorted(listed) == keys, f"stored {len(keys)} keys, but the listing has {_named(sorted(listed))}")
    _must(listed == keys, f"the listing is not in lexical order: {_named(listed)}")
    for beginning in ("a", "a/", "a/x", "a/x%", "ab", "c"):
        expected = [key for key in keys if key.startswith(prefix + beginning)]
        found = [entry.key async for entry in storage.list(prefix + beginning)]
        _must(found == expected, f"the prefix «{beginning}» gave {_named(found)} instead of {_named(expected)}")
    for key in keys:
        _must(await storage.get(key) == key.encode(), f"«{key}» has another key's bytes")
    return ""


async def zero_bytes(storage: Storage, prefix: str) -> str:
    """An object of no bytes is an object, and bytes of zero are bytes."""
    await storage.put(prefix + "empty", [])
    await storage.put(prefix + "zeros", [bytes(5000)])
    found = await storage.head(prefix + "empty")
    _must(found is not None and found.size == 0, f"head of an empty object answered {_told(found)}")
    _must(await storage.get(prefix + "empty") == b"", "an empty object came back with bytes")
    _must(await storage.get(prefix + "zeros") == bytes(5000), "5,000 zeros came back as something else")
    sizes = [entry.size async for entry in storage.list(prefix)]
    _must(sizes == [0, 5000], f"the listing gives the sizes {_named(map(str, sizes))} instead of 0, 5000")
    return ""


async def range_reads(storage: Storage, prefix: str) -> str:
    """Parts of an object are exactly the bytes asked for; more than there is is an error."""
    key = prefix + "counted"
    content = _pattern(300_000)
    await storage.put(key, [content[:7], content[7:100_000], content[100_000:]])
    for start, length in ((0, 1), (0, 300_000), (299_999, 1), (65_535, 65_538), (1000, 0), (12_345, None), (0, None)):
        found = await storage.get(key, start, length)
        expected = content[start:] if length is None else content[start : start + length]
        _must(found == expected, f"{length} bytes from {start} came back wrong ({len(found)} bytes)")
    try:
        found = await storage.get(key, 299_990, 100)
    except Truncated:
        return ""
    raise Broken(f"100 bytes were asked for where 10 are left, and {len(found)} came without an error")


async def replace(storage: Storage, prefix: str) -> str:
    """A put that may replace does, whole, and is read back at once."""
    key = prefix + "changing"
    for content in (b"one", b"two, longer", b"3"):
        await storage.put(key, [content], replace=True)
        _must(await storage.get(key) == content, f"after a replacing put of {len(content)} bytes others are read")
    await storage.delete([key])
    _must(await storage.head(key) is None, "a deleted key is still told of")
    again = await storage.put(key, [b"new"])
    _must(again.created, "a key that was deleted can't be created again")
    return ""


async def concurrent_puts(storage: Storage, prefix: str) -> str:
    """Many different keys put at once all arrive, each with its own bytes."""
    keys = [f"{prefix}{number % 7}/{number:03d}" for number in range(64)]
    puts = await _all(storage.put(key, [_pattern(5000 + at), key.encode()]) for at, key in enumerate(keys))
    _must(all(put.created for put in puts), "a put of a new key claims that it was there")
    found = await _all(storage.get(key) for key in keys)
    for at, key in enumerate(keys):
        _must(found[at] == _pattern(5000 + at) + key.encode(), f"{key!r} has other bytes than were put")
    return ""


async def conditional_create(storage: Storage, prefix: str) -> str:
    """Of eight puts of one key at the same time exactly one creates it, in each of twenty rounds."""
    left = ROUNDS
    begun = 0
    while left:
        if begun >= ROUNDS + REPEATS:
            raise Skipped(
                f"in {begun + left - ROUNDS} of {begun} rounds none of {PUTS} concurrent puts was told that it created "
                "the key, so nothing is known: each put will ask first"
            )
        # Two rounds at a time: some stores let each loser wait more than a second.
        keys = [f"{prefix}{begun + number:02d}" for number in range(min(2, left, ROUNDS + REPEATS - begun))]
        begun += len(keys)
        left -= sum(await _all(_race(storage, key) for key in keys))
    return f"{ROUNDS} rounds of {PUTS} puts, one created each time"


async def _race(storage: Storage, key: str) -> bool:
    """Whether exactly one put of the round created the key; False: none was told so, for answers that were lost."""
    # All of the same length, so that a loser whose bytes were kept is found by the bytes.
    bodies = [bytes([at]) * 4096 for at in range(PUTS)]
    answers = await asyncio.gather(*(storage.put(key, [body]) for body in bodies), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Transient):
            raise answer
    winners = [at for at, answer in enumerate(answers) if isinstance(answer, Put) and answer.created]
    if not winners:
        return False
    if len(winners) > 1:
        raise Skipped(
            f"the store let {len(winners)} of {PUTS} concurrent puts create the same key: each put will ask first"
        )
    if await storage.get(key) != bodies[winners[0]]:
        raise Skipped("a put that was told «not created» left its bytes: each put will ask first")
    return True


async def past_1000_keys(storage: Storage, prefix: str) -> str:
    """A listing has every key, also when it takes more than one page."""
    keys = [f"{prefix}{number % 3}/{number:05d}" for number in range(MANY)]
    await _all(storage.put(key, [key.encode()]) for key in keys)
    listed = [entry.key async for entry in storage.list(prefix)]
    _must(listed == sorted(keys), f"{MANY} keys were stored, {len(listed)} listed, {len(set(listed))} of them once")
    await storage.delete(keys)
    left = [entry.key async for entry in storage.list(prefix)]
    _must(left == [], f"{len(left)} of {MANY} deleted keys are still listed")
    return f"{MANY} keys"


async def delete_many(storage: Storage, prefix: str) -> str:
    """A delete removes the keys it names and no others, and those that are not there are fine."""
    keys = [f"{prefix}{number:02d}" for number in range(30)]
    await _all(storage.put(key, [b"x"]) for key in keys)
    await storage.delete([*keys[:20], prefix + "never-there", prefix + "2"])
    listed = [entry.key async for entry in storage.list(prefix)]
    _must(listed == keys[20:], f"after deleting 20 of 30 keys these are listed: {_named(listed)}")
    await storage.delete([])
    return ""


class Clock:
    """The store's times are usable: near ours, and those of later objects are not earlier. `now`: unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def __call__(self, storage: Storage, prefix: str) -> str:
        """The check; remarks the difference of the clocks."""
        await storage.put(prefix + "first", [b"1"])
        before = self._now()
        await storage.put(prefix + "second", [b"2"])
        after = self._now()
        first, second = [entry async for entry in storage.list(prefix)]
        _must(second.modified >= first.modified, "a later object has an earlier time")
        skew = second.modified - (before + after) / 2
        _must(abs(skew) <= MOST_SKEW, f"the store's clock differs by {skew:.0f} s")
        return f"the store's clock differs by {skew:.1f} s"


async def large_object(storage: Storage, prefix: str) -> str:
    """An object larger than any piece goes and comes back whole, in parts too."""
    content = _pattern(LARGE)
    await storage.put(prefix + "large", [content[: LARGE // 3], content[LARGE // 3 :]])
    _must(await storage.get(prefix + "large") == content, "a large object came back with other bytes")
    part = await storage.get(prefix + "large", LARGE - 70_001, 70_000)
    _must(part == content[-70_001:-1], "a part of a large object came back wrong")
    return f"{LARGE} bytes"


def _pattern(size: int) -> bytes:
    """Bytes that tell their place: no two stretches of 251 × 256 bytes are mistaken for each other unseen."""
    block = b"".join(bytes([number]) + bytes(range(250)) for number in range(256))
    return (block * (size // len(block) + 1))[:size]
