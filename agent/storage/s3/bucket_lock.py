"""Whether a bucket locks what is put there. In: a client and a bucket. Out: nothing, or the error that says what is
wrong with it for what the settings say. One request."""

from typing import TYPE_CHECKING, Any

from agent.storage.protocol import BucketLocked, BucketMissing, BucketNotLocked, Denied, StorageError, Transient
from agent.storage.s3.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def refuse_locked(client: "S3Client", bucket: str) -> None:
    """Raise `BucketLocked` for one that locks everything by a default of its own. A store that doesn't tell, or tells
    these keys nothing, is taken for one without."""
    try:
        found = _configuration(client, bucket)
    except (BucketMissing, Transient):
        raise
    except StorageError:
        return
    default = found.get("Rule", {}).get("DefaultRetention")
    if default:
        long = f"{default['Days']} days" if "Days" in default else f"{default.get('Years')} years"
        raise BucketLocked(
            f"the bucket {bucket!r} locks what is put there for {long} ({default.get('Mode')}), also what Helenus "
            "replaces and deletes while it works",
            bucket=bucket,
            setting="object_lock",
        )


def refuse_unlocked(client: "S3Client", bucket: str) -> None:
    """Raise `BucketNotLocked` for a bucket without object lock, `Denied` when these keys may not ask."""
    try:
        found = _configuration(client, bucket)
    except (BucketMissing, Transient, Denied):
        raise
    except StorageError as error:
        raise BucketNotLocked(
            f"the bucket {bucket!r} was not made with object lock: {error.message}",
            bucket=bucket,
            setting="object_lock",
        ) from error
    if found.get("ObjectLockEnabled") != "Enabled":
        raise BucketNotLocked(f"the bucket {bucket!r} has no object lock", bucket=bucket, setting="object_lock")


def _configuration(client: "S3Client", bucket: str) -> dict[str, Any]:
    with translated("look at the object lock", bucket):
        answer: Any = client.get_object_lock_configuration(Bucket=bucket)
    found: dict[str, Any] = answer.get("ObjectLockConfiguration", {})
    return found
