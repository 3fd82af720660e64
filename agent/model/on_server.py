"""What stands under `<state>/on-server/<tag>/`, and whose it is.

    owner.json, snapshot.json, unanswered, listing    of the snapshot, as long as it is there; removed together
                                                      (agent.cassandra.snapshot_notes)
    manifest, plan.json, record.json, owed            of the backup that stays on the node (agent.repository.on_server)

`listing` says what a snapshot that was taken to be copied held when it was taken (agent.repository.snapshot_listing).

Either may come and go while the other stays, and at the same time: both write with `write_into`, which makes the
directory, and remove with `remove_from` (kit.atomic_files), which takes it away with its last file.
"""

OWNER = "owner.json"
INFO = "snapshot.json"
UNANSWERED = "unanswered"
LISTING = "listing"

MANIFEST = "manifest"
PLAN = "plan.json"
RECORD = "record.json"
OWED = "owed"
