"""Which bucket, and where in it. In: a destination's path. Out: bucket and prefix, or `BadSettings`."""

import re

from agent.storage.keys import BadKey, check_key
from agent.storage.protocol import BadSettings

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def bucket_and_prefix(path: str) -> tuple[str, str]:
    """The bucket's name, and the prefix of all keys: empty, or ending with `/`. Raises `BadSettings`."""
    bucket, _, prefix = path.strip("/").partition("/")
    if not BUCKET.fullmatch(bucket):
        raise BadSettings(f"{bucket!r} is no name of a bucket", setting="path")
    try:
        return bucket, check_key(prefix) + "/" if prefix else ""
    except BadKey as error:
        raise BadSettings(f"the prefix {prefix!r} can't be used: {error.message}", setting="path") from None
