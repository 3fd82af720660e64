"""Which keys of a repository Helenus itself replaces or deletes. In: a key, or a prefix. Out: the side that it lies on
in a destination under object lock. Pure text.

- *Control* comes and goes while Helenus works: intents and marks of sweeps, notes of damage, deletion marks, claims,
  what checks write. Nothing of it is needed to list and to restore. It lies where nothing is locked.
- *Everything else* is put once and never changed: the repository's and the clusters' own files, key slots, listing
  records, plans, manifests, objects. It lies under lock, and so does what is nobody's.
"""

import re

from agent.storage.divided import Sides

_OF_CLUSTER = r"helenus/v1/clusters/[^/]+/"
_CONTROL = re.compile(rf"helenus-check/|helenus/v1/claims/|{_OF_CLUSTER}nodes/[^/]+/(?:intents|damaged)/")
_MARK = re.compile(rf"{_OF_CLUSTER}catalogue/[^/]+/deleted")
_LOCKED = re.compile(rf"helenus/v1/(?:names/|keys/)|{_OF_CLUSTER}(?:backups/|nodes/[^/]+/(?!intents/|damaged/)[^/]+/)")


def is_control(key: str) -> bool:
    """Whether the key lies in the control location."""
    return _CONTROL.match(key) is not None or _MARK.fullmatch(key) is not None


def may_be_control(prefix: str) -> bool:
    """Whether a key in the control location can begin so."""
    return _LOCKED.match(prefix) is None


def may_be_locked(prefix: str) -> bool:
    """Whether a key under lock can begin so."""
    return _CONTROL.match(prefix) is None


SIDES = Sides(is_control, may_be_control, may_be_locked)
