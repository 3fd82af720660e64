"""What can be wrong with a repository: the errors of this package, each with a stable code."""

from collections.abc import Mapping
from typing import TypeVar

from kit.errors import HelenusError

Kind = TypeVar("Kind", bound=HelenusError)


def of_table(error: Kind, keyspace: str, table: str) -> Kind:
    """The same error with the table that it is about, which stands first: keys at the end are long."""
    named = type(error)(f"{keyspace}.{table}: {error.message}")
    named.fields = {**error.fields, "keyspace": keyspace, "table": table}
    return named


def of_backup(error: Kind, tag: str, host_id: str, key: str) -> Kind:
    """The same error with the manifest that it is about: the backup, whose part, and where it lies."""
    named = type(error)(f"{error.message} (backup {tag}, node {host_id}): {key}")
    named.fields = {"tag": tag, "host_id": host_id, "key": key, **error.fields}
    return named


class RepositoryError(HelenusError):
    """The root of this package's errors."""

    code = "repository_failed"
    status = 502
    todo = "Run the destination's check for a diagnosis."


class UnknownDestination(RepositoryError):
    """A command names a destination that this agent was never told."""

    code = "unknown_destination"
    status = 404
    retry = "later"
    todo = "Put the destination's settings to this agent, then send the command again."


class RepositoryMismatch(RepositoryError):
    """The destination holds another repository than the command names."""

    code = "repository_mismatch"
    status = 409
    todo = "Point the destination back to the repository it was made with, or add this one as a new destination."


class NotARepository(RepositoryError):
    """The destination holds foreign content, or nothing at all where a repository was expected."""

    code = "not_a_repository"
    status = 409
    todo = "Choose an empty bucket, prefix or directory, or one that Helenus initialised."


class RepositoryFileLost(NotARepository):
    """repository.json is gone or can't be read, and the destination holds what belongs to a repository."""

    code = "repository_file_lost"
    todo = (
        "Bring repository.json back from a copy, or make it again as docs/repository.md says («When repository.json is "
        "lost»); all else is still there: remove nothing, and look into who or what changed the destination."
    )


class ClusterFileDamaged(NotARepository):
    """A cluster's `cluster.json`, or its twin below `names/`, is gone, can't be read or names another cluster."""

    code = "cluster_file_damaged"
    todo = (
        "Bring the named file back from a copy; clusters/<id>/cluster.json and names/<name>/<id> have the same bytes. "
        "(One that is gone is made anew when the destination's settings are put again, unchanged.) All else is still "
        "there: remove nothing, and look into who or what changed the destination."
    )


class RepositoryGone(NotARepository):
    """The destination is empty, and held a repository before."""

    code = "repository_gone"
    retry = "later"
    todo = (
        "See whether the directory's file system is mounted there, or whether the bucket was emptied, and bring back "
        "what it held; if that is gone for good, remove the destination and add it anew."
    )

    def __init__(self, repository_id: str, place: str = "the destination") -> None:
        super().__init__(
            f"{place} is empty and held the repository {repository_id} before: was it unmounted, or emptied?",
            repository_id=repository_id,
        )
        self._repository_id = repository_id

    def at(self, path: str) -> "RepositoryGone":
        """The same with the directory or bucket."""
        named = RepositoryGone(self._repository_id, path)
        named.fields |= {"path": path}
        return named


class RepositoryFormatNewer(RepositoryError):
    """The repository, or a file in it, has a format that this version can't read."""

    code = "repository_format_newer"
    status = 409
    todo = "Upgrade the agent to the version that wrote the repository, or a later one."


class ClusterAmbiguous(RepositoryError):
    """Several clusters of the repository bear the name that was asked for."""

    code = "cluster_ambiguous"
    status = 409
    todo = "Name the cluster by its id: the candidates are in the fields."


class ClusterNotFound(RepositoryError):
    """The repository holds nothing of the cluster that was asked for; `clusters`: the ids and names that it knows."""

    code = "cluster_not_found"
    status = 404
    todo = "Name one of the clusters that are there, by its id or name."

    def __init__(self, cluster: str | None, clusters: Mapping[str, str]) -> None:
        known = ", ".join(f"{one} ({name})" for one, name in sorted(clusters.items()))
        super().__init__(
            f"the repository has no cluster {cluster}; there are: {known}"
            if known
            else "the repository has no cluster",
            cluster=cluster,
            clusters=dict(clusters),
        )


class EncryptionKeyMissing(RepositoryError):
    """The repository is encrypted, and the destination's settings name no key."""

    code = "encryption_key_missing"
    status = 409
    todo = "Put the destination again with `encryption`: the passphrase, or the file of the passphrase or key."


class RepositoryLockDiffers(RepositoryError):
    """The repository was made under object lock and the settings have none, or the other way round: marks and notes
    of before would be looked for where they aren't."""

    code = "repository_lock_differs"
    status = 409
    todo = "Give the settings the object_lock that the repository was made with, or use an empty place for a new one."


class RepositoryNotEncrypted(RepositoryError):
    """Encryption was asked for, and the repository that is there says that it isn't encrypted."""

    code = "repository_not_encrypted"
    status = 409
    todo = (
        "Use an empty place for the encrypted repository. If this one was encrypted before, somebody replaced its "
        "repository.json: put the right one back from a copy, and look into who changed the destination."
    )


class LockedStoreUnconditional(RepositoryError):
    """The store took a second `repository.json` where nothing should be put on top of what is there: two agents at a
    time would cover one another's key slots, in a bucket that lets nobody take anything away."""

    code = "locked_store_unconditional"
    status = 502
    todo = (
        "Use a store whose buckets under object lock keep to If-None-Match (S3 does, SeaweedFS and versitygw do), or a "
        "destination without object_lock."
    )


class RepositoryUnfinished(RepositoryError):
    """Of an encrypted repository only `repository.json` is there: whoever made it died before its first key slot, and
    nothing was stored in it."""

    code = "repository_unfinished"
    status = 409
    todo = "Add the destination again with the passphrase or key file that it is to have: the making of it goes on."


class KeySlotsGone(RepositoryError):
    """The repository is encrypted and holds data, and no key slot is there."""

    code = "key_slots_gone"
    status = 409
    todo = "Bring back the files below helenus/v1/keys/ from a copy: nothing else opens what the repository holds."


class EncryptionKeySuperseded(RepositoryError):
    """The passphrase or key file opens only slots of before the last rotation, which left it out: `keys` are those that
    count now. Whoever can write to the destination can put such slots without any key."""

    code = "encryption_key_superseded"
    status = 409
    todo = (
        "Give the destination the passphrase or key file that the rotation was made with. If nobody rotated its keys, "
        "remove the named key slots from the destination, and look into who put them there."
    )


class KeySlotClaimed(RepositoryError):
    """In a store that can't create only if absent somebody claims a key slot and doesn't make it."""

    code = "key_slot_claimed"
    retry = "later"
    status = 409
    todo = (
        "Wait until the other agent is through, then try again. If none is at it (it was killed half-way), remove the "
        "named file from the destination first."
    )


class KeysRolledBack(RepositoryError):
    """The newest key slot is older than one that this agent has used."""

    code = "keys_rolled_back"
    status = 409
    todo = (
        "Bring back the newest files below helenus/v1/keys/ from a copy, and look into who removed them: a retired key "
        "may be known to others."
    )


class IntentForeign(RepositoryError):
    """Another agent writes to, or sweeps, this node's prefix (or this agent lost its state)."""

    code = "intent_foreign"
    status = 409
    retry = "later"
    todo = (
        "Stop the other agent, or, if this agent lost its state, sweep with abandon_intents naming the tags once the "
        "other has been silent for the margin."
    )


class NodeAdopted(IntentForeign):
    """The node left the ring once, and another agent frees the space of its prefix: this one must not write there."""

    code = "node_adopted"
    todo = (
        "If the node is not to be in the ring, stop this agent. If it is back for good, sweep on it with "
        'abandon_intents ["~adopted"] once the other agent has been silent for the margin; its backups go on then.'
    )


class AdoptionRefused(RepositoryError):
    """Another agent was to take over the part of a node that is in the ring, or of which that can't be said."""

    code = "adoption_refused"
    status = 409
    retry = "later"
    todo = "Let the node's own agent do it: others take over only what has left the ring for good."


class BackupDeleted(RepositoryError):
    """The backup has a deletion mark in this destination."""

    code = "backup_deleted"
    status = 409
    todo = "The backup was deleted: use another tag, or wait until every node's sweep has removed it."


class BackupNotFound(RepositoryError):
    """No backup of that tag is here."""

    code = "backup_not_found"
    status = 404
    todo = "List the backups of the destination and use a tag from there."


class BackupExists(RepositoryError):
    """Another backup of that tag is here already."""

    code = "backup_exists"
    status = 409
    todo = "Use another tag: a tag names one backup for ever."


class ManifestInvalid(RepositoryError):
    """A manifest, a frame of it, or one of its references is damaged, cut or hostile."""

    code = "manifest_invalid"
    todo = "Don't trust this backup: restore from another one and look into who or what changed the destination."


class ObjectUnreadable(ManifestInvalid):
    """An object, manifest, plan, record or mark that the store doesn't give while it gives others: a bad sector, an
    error of the server for one key, a right or key that is missing for it."""

    code = "object_unreadable"
    todo = (
        "See what is wrong with the named file (the disk, its owner, the key that the store sealed it with). Bring it "
        "back from a copy; an object of data is put anew by the next backup that still has its SSTable, or by a sync."
    )


class DeletionMarkInvalid(ManifestInvalid):
    """A deletion mark can't be read, or is another backup's: data is deleted for none such."""

    code = "deletion_mark_invalid"
    todo = (
        "If the backup is to go, delete it again. If not, remove the named file from the destination, and look into "
        "who put it there. Until then sweeps of the destination wait."
    )


class ManifestAbsent(RepositoryError):
    """A sweep misses the manifest of an undeleted backup: what it needs nobody else knows, so nothing goes."""

    code = "manifest_absent"
    status = 409
    todo = (
        "Bring the manifest back (from a copy of the destination, or the version that a deletion hid), or delete the "
        "backup: sweeps go on then."
    )


class ObjectDamaged(RepositoryError):
    """A stored object's bytes are not what its name and frame promise."""

    code = "object_damaged"
    todo = (
        "Restore from another backup. A new backup puts a cut object anew while its SSTable is there, and one of the "
        "right size once a scrub has noted it."
    )


class ManifestIncomplete(RepositoryError):
    """The check before publishing found an object missing or of another size."""

    code = "manifest_incomplete"
    retry = "later"
    todo = "Run the command again: what is missing is put again. If it repeats, look at the store's own log."


class ZeroBackup(RepositoryError):
    """Nothing to back up where something was asked for."""

    code = "nothing_to_back_up"
    status = 409
    todo = "Check the names of the keyspaces and tables, and that the snapshot still exists on the node."


class SweepWaits(RepositoryError):
    """Why a sweep stands still between mark and deletion; `seconds` from now, `margin_seconds` in all."""

    code = "sweep_waits"
    retry = "later"
    status = 409
    todo = "Nothing: it goes on by itself. `[sweep] margin_seconds` of the agent's configuration is how long it waits."

    def __init__(self, seconds: float, margin: float) -> None:
        super().__init__(
            f"waits {seconds:.0f} s between marking and deleting, so that nothing which a write on its way needs goes",
            seconds=round(seconds, 1),
            margin_seconds=margin,
        )
