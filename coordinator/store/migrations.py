"""The schema of coordinator.sqlite as numbered steps. A step that was released is never changed; new ones follow."""

MIGRATIONS: list[list[str]] = [
    [
        """CREATE TABLE requests (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, cluster TEXT NOT NULL,
            kind TEXT NOT NULL, state TEXT NOT NULL, tag TEXT, finished REAL, cancel TEXT NOT NULL DEFAULT '',
            data BLOB NOT NULL)""",
        "CREATE INDEX requests_by_state ON requests (state, cluster)",
        "CREATE INDEX requests_by_tag ON requests (cluster, tag)",
        "CREATE TABLE tags (cluster TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (cluster, tag)) WITHOUT ROWID",
        "CREATE TABLE parts (request TEXT PRIMARY KEY, data BLOB NOT NULL)",
        """CREATE TABLE steps (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
            UNIQUE (request, name))""",
        """CREATE TABLE events (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, destination TEXT NOT NULL,
            cluster TEXT NOT NULL, type TEXT NOT NULL, tag TEXT NOT NULL, deleted_at INTEGER, data BLOB NOT NULL,
            UNIQUE (request, destination))""",
        "CREATE INDEX events_by_tag ON events (cluster, tag, destination)",
        """CREATE TABLE commands (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, request TEXT NOT NULL,
            data BLOB NOT NULL)""",
        "CREATE INDEX commands_by_request ON commands (request)",
        "CREATE TABLE fences (job TEXT PRIMARY KEY, last INTEGER NOT NULL)",
        """CREATE TABLE destinations (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, cluster TEXT NOT NULL, id TEXT NOT NULL,
            revision INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (cluster, id))""",
        "CREATE TABLE named_values (name TEXT PRIMARY KEY, data BLOB NOT NULL)",
    ],
    [
        "ALTER TABLE events ADD COLUMN event_time INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE events ADD COLUMN status TEXT NOT NULL DEFAULT ''",
        # The cast: SQLite takes a BLOB for its own binary form of JSON, or refuses it.
        """UPDATE events SET event_time = json_extract(CAST(data AS TEXT), '$.event_time'),
            status = json_extract(CAST(data AS TEXT), '$.status')""",
        "CREATE INDEX events_by_time ON events (cluster, event_time, sequence)",
    ],
    [
        "ALTER TABLE commands ADD COLUMN cancel_owed INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX commands_by_owed_cancel ON commands (sequence) WHERE cancel_owed = 1",
    ],
    [
        """CREATE TABLE retention (
            cluster TEXT NOT NULL, destination TEXT NOT NULL, backup_id TEXT NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (cluster, destination, backup_id)) WITHOUT ROWID""",
    ],
    [
        """CREATE TABLE outbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, id TEXT NOT NULL, put REAL NOT NULL,
            done INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0,
            data BLOB NOT NULL, UNIQUE (hook, id))""",
        "CREATE INDEX outbox_by_waiting ON outbox (hook, sequence) WHERE done = 0",
        "CREATE INDEX requests_by_end ON requests (finished)",
    ],
    [
        """CREATE TABLE schedules (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, cluster TEXT NOT NULL, id TEXT NOT NULL,
            version INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (cluster, id))""",
    ],
    [
        "CREATE TABLE users (name TEXT PRIMARY KEY, administers INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE sessions (
            key TEXT PRIMARY KEY, user TEXT NOT NULL, stamp TEXT NOT NULL, begun REAL NOT NULL, ends REAL NOT NULL,
            seen REAL NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX sessions_by_end ON sessions (ends)",
    ],
    [
        # A row for each node: all parts of a request in one are 100 MB of JSON with a thousand nodes. `parts` has what
        # an earlier release kept.
        """CREATE TABLE node_parts (
            request TEXT NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (request, position))""",
    ],
]
