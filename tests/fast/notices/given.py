"""What tests of notices begin with. In: changes. Out: requests, notices, hooks."""

from pathlib import Path
from typing import Any

import msgspec

from coordinator.model.notices import Notice
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.model.settings import WebhookSettings
from coordinator.notices.hooks import Hook, hooks_of
from kit.secret import Secret

NOW = 1_489_763_169.0
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiB3ZWJob29rcyE="


def request(name: str = "r1", **changes: Any) -> Request:
    """A running backup, begun now, unless changed."""
    order = BackupOrder(tag=TAG, time=int(NOW), copies=[])
    made = Request(name, RequestKind.BACKUP, "main", RequestState.RUNNING, NOW, spec_of(order), tag=TAG)
    return msgspec.structs.replace(made, **changes)


def ended(
    name: str = "r1", at: float = NOW + 60, state: RequestState = RequestState.SUCCESS, **changes: Any
) -> Request:
    """The same, ended."""
    return request(name, state=state, finished=at, **changes)


def notice(name: str = "n1", type: str = "backup.succeeded", **changes: Any) -> Notice:
    """A notice of a backup."""
    return msgspec.structs.replace(Notice(name, type, NOW, "main", "r1", TAG), **changes)


def secret_file(directory: Path, text: str = SECRET) -> str:
    """The path of a file with the secret."""
    path = directory / "webhook-secret"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def hook(directory: Path, url: str, name: str = "ops", **changes: Any) -> Hook:
    """The hook of a right configuration."""
    return hooks_of({name: WebhookSettings(url, secret_file(directory), **changes)})[0]


def hook_at(url: str, *, host: str, **changes: Any) -> Hook:
    """A hook that the configuration would refuse."""
    return msgspec.structs.replace(Hook("ops", Secret(url), host, False, Secret(SECRET), [], None), **changes)
