CREATE TABLE commands (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- order of acceptance
    id          TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    arguments   BLOB NOT NULL,                     -- canonical JSON
    tag         TEXT,
    job         TEXT,
    phase       TEXT,
    fence       INTEGER NOT NULL,
    not_after   REAL,
    report_to   TEXT,
    state       TEXT NOT NULL,
    stage       TEXT NOT NULL DEFAULT '',
    cancelling  INTEGER NOT NULL DEFAULT 0,        -- a person asked for the end while it ran
    accepted    REAL NOT NULL,
    started     REAL,
    finished    REAL,
    instance    TEXT NOT NULL,
    progress    BLOB,                              -- JSON, of terminal commands
    result      BLOB,
    error       BLOB
) STRICT;
CREATE INDEX commands_job ON commands (job);
CREATE INDEX commands_live ON commands (state) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX commands_finished ON commands (finished) WHERE finished IS NOT NULL;

CREATE TABLE stages (
    command TEXT NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    stage   TEXT NOT NULL,
    data    BLOB,
    entered REAL NOT NULL,
    PRIMARY KEY (command, stage)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence  INTEGER PRIMARY KEY,
    command   TEXT NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    report_to TEXT,
    event     BLOB NOT NULL                        -- JSON
) STRICT;
CREATE INDEX events_command ON events (command);
CREATE INDEX events_report_to ON events (report_to, sequence) WHERE report_to IS NOT NULL;

CREATE TABLE fences (
    job          TEXT PRIMARY KEY,
    highest      INTEGER NOT NULL,
    import_begun INTEGER NOT NULL DEFAULT 0,
    used         REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE readers (
    name     TEXT PRIMARY KEY,                     -- a coordinator of the configuration
    position INTEGER NOT NULL                      -- the last sequence that it acknowledged
) STRICT, WITHOUT ROWID;

CREATE TABLE sequences (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    reserved INTEGER NOT NULL                      -- no sequence above was ever given to a reader
) STRICT;
INSERT INTO sequences VALUES (1, 0);
