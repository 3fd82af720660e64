"""What a scrub may have to tell: errors with a stable code, and places of damage in words."""

from agent.jobs.scrub.records import MISSING
from agent.wire.results import DamagedPlace
from kit.errors import HelenusError


class ScrubYields(HelenusError):
    """Why a scrub stands still."""

    code = "scrub_yields"
    retry = "later"
    status = 409
    todo = "Nothing: it goes on by itself."

    def __init__(self, destination: str) -> None:
        super().__init__(
            f"lets other commands that use {destination} go first: it goes on once they have ended",
            destination=destination,
        )


class RepositoryDamaged(HelenusError):
    """A scrub found stored objects or manifests damaged or missing."""

    code = "repository_damaged"
    retry = "later"
    status = 502
    todo = (
        "Run a new backup: it puts anew what is damaged while the SSTable still lives on the node. Restore from other "
        "backups meanwhile, and look into what changed the destination."
    )


def told(place: DamagedPlace, host_id: str) -> str:
    """A place of damage of that node's part as a clause."""
    if place.keyspace:
        file = f" {place.file}" if place.file else ""
        return f"{place.keyspace}.{place.table}{file} of {place.tag}, {place.key}"
    if place.reason == MISSING:
        what = f"manifest of {host_id}" if place.key.endswith(".manifest") else "plan or record"
        return f"the {what} of {place.tag} is not there, {place.key}"
    return f"{place.key} of {place.tag} can't be read ({place.reason})"
