"""How long the orchestrator waits for what, in seconds."""

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """Times in seconds.

    `agent_return`: how long the others wait for a node that doesn't answer before it counts as failed. `brief`: the
    same while clearing up, and for a destination that another command keeps in use; how long a node may tell of views
    that are gone. `fence`: how long a truncate, schema change or import may wait at the agent before it must not begin
    any more. `force_margin`: how long after that deadline `force` goes on without a lost agent. `report_age`: how old a
    node's report may be where only who answers matters. `retry_pause`: between attempts on a node that isn't ready.
    `cancel`: how long a cancelled command may take to end. `owed_cancel`: between attempts to tell an agent of a cancel
    that it did not hear. `former_place`: how long the backups are looked for that stay where a destination was.
    `retention_at`: the time of day (UTC, after midnight) of the daily run of retention. `retention_look`: between two
    looks whether a run is due. `retention_again`: after a run that failed, at first.
    `take_over`: how long a job that stops nodes must not have been written to by the coordinator that carries it out
    before another one takes it over; that one writes every quarter of it.
    `take_up`: between two looks whether the state has a request that nobody carries out.
    `archiving_look`: between two looks whether every node archives its commit log as it should; a node that does not
    at two of them is told of. `enroll_again`: after nodes were enrolled and still don't archive.
    `outlive`: how long Cassandra, once it answers again, may still be at a statement whose sender gave up: twice its
    `truncate_request_timeout` (60 s in cassandra.yaml of 4.1 and 5.0; other statements have shorter ones). Before it
    answers that time doesn't run: the statement may lie unread in the node's socket, and no age is relied on at which
    it would be thrown away.
    """

    agent_return: float = 600.0
    brief: float = 15.0
    fence: float = 600.0
    force_margin: float = 600.0
    report_age: float = 5.0
    retry_pause: float = 2.0
    cancel: float = 120.0
    owed_cancel: float = 5.0
    former_place: float = 15.0
    outlive: float = 120.0
    take_over: float = 60.0
    take_up: float = 30.0
    retention_at: float = 9_000.0
    retention_look: float = 10.0
    retention_again: float = 60.0
    archiving_look: float = 20.0
    enroll_again: float = 900.0


USUAL = Timing()
