"""From a destination's settings to a store ready for use. In: settings and what this agent allows. Out: a `Storage`
that limits, measures and retries. An SDK is imported only when a destination needs it.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from agent.storage.conformance import CONDITIONAL_CREATE, NAMES, conform
from agent.storage.divided import ALL_LOCKED, Sides
from agent.storage.limited import Limited
from agent.storage.local.files import allowed_path
from agent.storage.local.storage import LocalStorage
from agent.storage.measured import Measured, Observer
from agent.storage.protocol import OPEN, DestinationFull, Gate, SdkMissing, Storage, Transient
from agent.storage.retrying import Retrying
from agent.wire.destinations import (
    AzureSettings,
    CheckResult,
    GcsSettings,
    LocalSettings,
    S3Settings,
    Settings,
    object_lock_of,
)


class _Unobserved:
    def done(self, verb: str, seconds: float, sent: int, received: int, error: str | None) -> None:
        return None


def _ignore_retry(verb: str, fault: Transient) -> None:
    return None


def load(settings: Settings) -> None:
    """Import what an opening of such settings needs. It takes time the first time: call it in a thread. Raises
    `SdkMissing`."""
    with _installed(settings.provider):
        match settings:
            case LocalSettings():
                pass
            case S3Settings():
                import agent.storage.s3.opened
            case GcsSettings():
                import agent.storage.gcs.storage
            case AzureSettings():
                import agent.storage.azure.storage  # noqa: F401
            case _:
                assert_never(settings)


@contextmanager
def _installed(provider: str) -> Iterator[None]:
    """Where a provider's modules are imported: what they need may not be there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SdkMissing(
            f"this agent can't use the provider {provider!r}: its library is not installed ({error.name})",
            extra=f"helenus[{provider}]",
        ) from None


def open_storage(
    settings: Settings,
    *,
    roots: Sequence[Path],
    own_state: Path | None = None,
    conditional_create: bool,
    sides: Sides = ALL_LOCKED,
    gate: Gate = OPEN,
    observer: Observer | None = None,
    on_retry: Callable[[str, Transient], None] = _ignore_retry,
    file_roots: Sequence[Path] = (),
    link_local: Collection[str] = (),
) -> Storage:
    """The store that the settings name; whoever opens it closes it. Nothing is sent yet.

    `roots`: directories that local destinations may lie in. `own_state`: the agent's, which none shares.
    `conditional_create`: what the destination's check found. `sides`: which keys object lock leaves alone. `gate`: the
    node's and the destination's limits; each call may bring one more. `file_roots`: directories that credentials and CA
    files may come from. `link_local`: hosts that may be link-local addresses. Raises `BadSettings`, `SdkMissing`.
    """
    load(settings)
    store: Storage
    match settings:
        case LocalSettings():
            store = LocalStorage(allowed_path(settings.path, roots, own_state), workers=settings.streams)
        case S3Settings():
            from agent.storage.s3.opened import open_s3  # the SDK costs time and memory: only when S3 is used

            store = open_s3(
                settings,
                sides,
                conditional_create=conditional_create,
                file_roots=file_roots,
                link_local=link_local,
            )
        case GcsSettings():
            from agent.storage.gcs.storage import GcsStorage

            store = GcsStorage(
                settings,
                conditional_create=conditional_create,
                file_roots=file_roots,
                link_local=link_local,
            )
        case AzureSettings():
            from agent.storage.azure.storage import AzureStorage

            store = AzureStorage(
                settings,
                conditional_create=conditional_create,
                file_roots=file_roots,
                link_local=link_local,
            )
        case _:
            assert_never(settings)
    if gate is not OPEN:
        store = Limited(store, gate)
    return Retrying(Measured(store, observer or _Unobserved()), on_retry=on_retry)


async def hidden_objects(settings: Settings, file_roots: Sequence[Path], most: int) -> tuple[int, list[str]]:
    """How many keys under object lock somebody has hidden, of which nothing is lost, and the first of them; none where
    nothing is under lock. Raises `BadSettings`, `SdkMissing`, a StorageError."""
    lock = object_lock_of(settings)
    if lock is None or not isinstance(settings, S3Settings):
        return 0, []
    load(settings)
    from agent.storage.s3.opened import hidden_in

    return await hidden_in(settings, lock, file_roots, most)


async def check_store(
    open_with: Callable[[bool], Awaitable[Storage]], prefix: str, *, big: bool = False
) -> tuple[list[CheckResult], bool]:
    """Run the conformance suite as the store will be used; the results, and whether it creates conditionally.

    `open_with` opens the store with the given `conditional_create`: the probe runs with it, everything else with what
    the probe found. Raises `DestinationFull`.
    """
    probe = await probe_store(open_with, prefix)
    capable = probe.outcome == "ok"
    using = await open_with(capable)
    try:
        rest = await conform(using, prefix, big=big, names=NAMES - {CONDITIONAL_CREATE})
    finally:
        await using.close()
    return [probe, *rest], capable


async def probe_store(open_with: Callable[[bool], Awaitable[Storage]], prefix: str) -> CheckResult:
    """Try whether the store creates conditionally: «ok» if it does, «skipped» if it doesn't, «failed» if nobody knows.
    `open_with` and `prefix` as `check_store`'s."""
    probing = await open_with(True)
    try:
        [probe] = await conform(probing, prefix, big=False, names={CONDITIONAL_CREATE})
    except DestinationFull as full:
        return CheckResult(CONDITIONAL_CREATE, "failed", f"{full.code}: {full.message}")
    finally:
        await probing.close()
    return probe
