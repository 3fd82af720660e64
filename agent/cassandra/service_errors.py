"""What can go wrong when Cassandra is stopped and started: an error per fact, and the reason shown while one waits."""

from agent.cassandra.errors import CassandraError


class ServiceNotConfigured(CassandraError):
    """The agent was not told how to stop and start Cassandra, or where its JVM options are; `fields`: setting."""

    code = "service_not_configured"
    status = 409
    todo = "Set the named setting of `[cassandra.service]` in agent.toml, restart the agent, send the command again."


class ServiceOrderFailed(CassandraError):
    """The command that stops or starts Cassandra failed; `fields`: command, exit, output, log (its end)."""

    code = "service_order_failed"
    retry = "later"
    todo = "Run the same command by hand as the agent's user (for systemd: is the polkit rule there?), read its output."


class CassandraNotStopped(CassandraError):
    """Cassandra's process did not end within `cassandra.service.stop_seconds`; `fields`: pids, seconds."""

    code = "cassandra_not_stopped"
    status = 504
    retry = "later"
    todo = "See in Cassandra's log what it waits for; end it by hand if it hangs, then send the command again."


class CassandraNotStarted(CassandraError):
    """Cassandra ended while it started, or was not in the ring in time; `fields`: mode, seconds, log (its end)."""

    code = "cassandra_not_started"
    status = 504
    retry = "later"
    todo = "Read the end of Cassandra's log in the fields, mend what it names, then send the command again."


class DrainFailed(CassandraError):
    """Cassandra was told to drain and is not drained; it was not stopped. `fields`: mode."""

    code = "drain_failed"
    retry = "later"
    todo = "Look at Cassandra's log. A node that is half drained serves nobody: restart it by hand, then send it again."


class NativeTransportNot(CassandraError):
    """Native transport was switched and is not as it should be; `fields`: wanted."""

    code = "native_transport_not_switched"
    retry = "later"
    todo = "Look at `nodetool statusbinary` and Cassandra's log, then send the command again."


class JvmOptionsDamaged(CassandraError):
    """The file of JVM options has the agent's first mark without its last one; `fields`: path, job."""

    code = "jvm_options_damaged"
    status = 409
    todo = "Look at the lines behind «# helenus begin» in the named file, remove the agent's and the mark itself."


class KeptDown(CassandraError):
    """A restore to a point in time exchanges the node's files, or was left in the middle of that: Cassandra does not
    start with them, or only for that restore's own replay, or it lets no client in; `fields`: jobs."""

    code = "kept_down"
    status = 409
    todo = (
        "Send the named restore again, which goes on with it, or cancel it with force: PIT_UNDO gives the node its old "
        "files back and lets Cassandra start. Where nobody knows it any more, the node is put back by hand: "
        "docs/point-in-time.md, «When it stopped half-way»."
    )


class WaitGivenUp(CassandraError):
    """A person ended a command that waited for Cassandra to stop or to start."""

    code = "wait_given_up"
    status = 409
    todo = "Look at the node: Cassandra stops or starts on without the agent. Send the command again to go on with it."


class WaitingForCassandra(CassandraError):
    """Not an end: what a command that stops or starts Cassandra waits for; `fields`: waits_for, seconds."""

    code = "waiting_for_cassandra"
    status = 503
    retry = "later"
    todo = "Nothing, as long as Cassandra's log moves on; the command ends by itself after the named seconds."
