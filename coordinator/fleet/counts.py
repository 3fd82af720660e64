"""Counts of a command, told and known: what an agent tells now and what it told before in, what is shown out. Pure."""

from agent.wire.commands import Counts, Progress


def kept(known: Progress, told: Progress, *, done: bool) -> Progress:
    """What is told now, and what is known of tables that it leaves out: an agent that was started again begins to count
    at nothing. When all is `done`, tables of which less is told than was known, of as much in all, keep what was."""
    if not known:
        return told
    result = {destination: dict(keyspaces) for destination, keyspaces in known.items()}
    for destination, keyspaces in told.items():
        into = result.setdefault(destination, {})
        for keyspace, tables in keyspaces.items():
            before = into.get(keyspace, {})
            if before is tables:  # nothing of it is new
                continue
            newest = {table: _more(before.get(table), now) for table, now in tables.items()} if done else tables
            into[keyspace] = {**before, **newest}
    return result


def _more(known: Counts | None, told: Counts) -> Counts:
    if known is None or (known.total_files, known.total_bytes) != (told.total_files, told.total_bytes):
        return told
    return known if (known.done_files, known.done_bytes) > (told.done_files, told.done_bytes) else told
