"""Whether a bucket of Google's locks what is put there. In: a session and a bucket. Out: nothing, or the error that
says by what.

One request; Helenus knows no way to keep backups in such a bucket.
"""

from typing import Any

from agent.storage.gcs.errors import failure, translated
from agent.storage.protocol import BucketLocked, BucketMissing, NotFound, StorageError, Transient

_DAY = 86400


def refuse_locked(session: Any, endpoint: str, bucket: str) -> None:
    """Raise `BucketLocked` for one with a retention policy or holds by default. One that these credentials aren't told
    about (the right `storage.buckets.get`) is taken for one without."""
    fields = {"fields": "retentionPolicy,defaultEventBasedHold"}
    try:
        with translated("look at the retention", bucket):
            answer = session.request("GET", f"{endpoint}/storage/v1/b/{bucket}", params=fields)
            if answer.status_code != 200:
                raise failure("look at the retention", bucket, answer)
            found = answer.json()
    except NotFound as error:
        raise BucketMissing(f"there is no bucket {bucket!r}", bucket=bucket) from error
    except (BucketMissing, Transient):
        raise
    except (StorageError, ValueError):
        return
    policy = found.get("retentionPolicy")
    if policy:
        days = int(policy.get("retentionPeriod", 0)) / _DAY
        how = f"has a retention policy of {days:g} days"
    elif found.get("defaultEventBasedHold"):
        how = "puts a hold on every object by default"
    else:
        return
    raise BucketLocked(
        f"the bucket {bucket!r} {how}: what Helenus replaces and deletes while it works couldn't go, and on Google "
        "Cloud Storage it keeps no backups under lock",
        bucket=bucket,
        setting="path",
    )
