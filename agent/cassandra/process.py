"""Cassandra's process on this machine. In: the JMX port of the node. Out: its pids, as /proc has them.

A JVM that runs CassandraDaemon is this node's unless its command line names another JMX port (cassandra-env.sh of 4.1
and 5.0 always names one): several nodes of one machine differ by it. One that names none counts: who moves files must
rather believe that Cassandra runs.
"""

from pathlib import Path

_DAEMON = b".CassandraDaemon"
_PORTS = (b"-Dcassandra.jmx.local.port=", b"-Dcassandra.jmx.remote.port=", b"-Dcom.sun.management.jmxremote.port=")


def cassandra_pids(jmx_port: int, proc: Path = Path("/proc")) -> list[int]:
    """The node's processes, sorted; [] when it doesn't run. Raises OSError when /proc can't be listed."""
    found = []
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile, or is another user's that hides it
        if is_node(command, jmx_port):
            found.append(int(process.name))
    return sorted(found)


def is_node(command: bytes, jmx_port: int) -> bool:
    """Whether a command line, as /proc has it, is that of the node with this JMX port."""
    words = command.split(b"\0")
    if not any(word.endswith(_DAEMON) and not word.startswith(b"-") for word in words):
        return False
    ports = {word.partition(b"=")[2] for word in words if word.startswith(_PORTS)}
    return not ports or str(jmx_port).encode() in ports
