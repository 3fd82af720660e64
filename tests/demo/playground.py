"""`make cluster`, `cluster-down`, `cluster-stop`, `cluster-start` and `cluster-cql`: the demo's machines to play with.

In: up, down, stop NAME, start NAME, cql STATEMENT. Out: processes that run until they are told to stop, recorded in
build/cluster/parts.json so that just those are ended.
"""

import asyncio
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from tests.cluster.places import BUILD
from tests.cluster.processes import ProcessError
from tests.cluster.services import write_secret
from tests.cluster.sessions import STATEMENT_ERRORS, close, open_session, reason_of
from tests.demo import parts
from tests.demo.interrupt import ends_on_signals
from tests.demo.parts import Part, PartError
from tests.demo.screen import Screen
from tests.demo.topology import CLUSTER, KEYS, Topology
from tests.demo.worth_trying import Places, worth_trying

DIRECTORY = BUILD / "cluster"
CURL = DIRECTORY / "curl.conf"
AGENTS_CURL = DIRECTORY / "curl-agents.conf"
ORDERS = 500
_SCHEMA = (
    "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
    "CREATE TABLE shop.orders (id int PRIMARY KEY, customer text, cents int)",
)


async def up() -> None:
    """Start everything from nothing and print what can be tried; what was started is ended again if that fails."""
    known = parts.read(DIRECTORY)
    if any(part.running() for part in known):
        print("the cluster is up already; make cluster-down ends it\n")
        show(known)
        return
    topology = Topology(DIRECTORY, destination="local", outlives_us=True)
    if taken := topology.taken():  # before anything is removed: it may be a cluster of ours
        sys.exit(f"something else listens on {', '.join(taken)}: end it first")
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    topology = Topology(DIRECTORY, destination="local", outlives_us=True)
    screen = Screen()
    ends_on_signals(topology)
    screen.step("starting three Cassandra nodes, three agents and a coordinator")
    try:
        await topology.start(screen.line)
        screen.step(f"writing {ORDERS} rows into shop.orders")
        await asyncio.to_thread(_fill, topology.cassandra.contact_points)
        known = _recorded(topology)
        parts.write(DIRECTORY, known)
    except BaseException:
        topology.end(parts.GRACE_SECONDS)
        raise
    write_curl_files(coordinator=topology.coordinator.token, agents=topology.agents[0].token)
    print()
    show(known)


def write_curl_files(*, coordinator: str, agents: str) -> None:
    """The tokens as curl reads them, in files of this user alone. Agents take bodies only under their own type, which
    curl's -d doesn't name."""
    output = 'silent\nshow-error\nwrite-out = "\\n"'
    write_secret(CURL, f'header = "Authorization: Bearer {coordinator}"\n{output}')
    json = 'header = "Content-Type: application/json"'
    write_secret(AGENTS_CURL, f'header = "Authorization: Bearer {agents}"\n{json}\n{output}')


def _fill(addresses: list[str]) -> None:
    session = open_session(addresses)
    try:
        for statement in _SCHEMA:
            session.execute(statement)
        insert = session.prepare("INSERT INTO shop.orders (id, customer, cents) VALUES (?, ?, ?)")
        for number in range(ORDERS):
            session.execute(insert, (number, f"customer {number // 5}", number * 37 % 10_000))
    finally:
        close(session)


def _recorded(topology: Topology) -> list[Part]:
    nodes = [
        Part.of(f"node{number}", node.child, node.address, node.spec.native_port, noted_in=node.directory)
        for number, node in enumerate(topology.cassandra.nodes, 1)
    ]
    services = {f"agent{number}": agent for number, agent in enumerate(topology.agents, 1)}
    found = [
        Part.of(name, service.child, service.address, service.port, state=service.state_directory)
        for name, service in {**services, "coordinator": topology.coordinator}.items()
    ]
    return [*nodes, *found]


def show(known: list[Part]) -> None:
    """Print what runs where, and what is worth trying."""
    print(f"{'part':<12} {'address':<18} {'pid':>7}  log")
    for part in known:
        pid = part.running()
        print(f"{part.name:<12} {f'{part.address}:{part.port}':<18} {pid or 'stopped':>7}  {_short(Path(part.log))}")
    coordinator, agent = (next(part for part in known if part.name == name) for name in ("coordinator", "agent1"))
    keys = (DIRECTORY / KEYS).resolve()
    places = Places(
        coordinator=f"http://{coordinator.address}:{coordinator.port}",
        cluster=CLUSTER,
        agent=f"http://{agent.address}:{agent.port}",
        curl=_short(CURL),
        agents_curl=_short(AGENTS_CURL),
        keys=str(keys),
        shown_keys=_short(keys),
    )
    print(worth_trying(places))


def _short(path: Path) -> str:
    """As seen from the directory where `make` was called, when that is the checkout."""
    return str(path.relative_to(Path.cwd())) if Path.cwd() in path.parents else str(path)


def down() -> None:
    """End what `up` started, nodes that an agent started again, and agents and coordinators that a person started over
    the same state since. The services first: an agent could start its node again."""
    known = parts.read(DIRECTORY)
    if running := [part.name for part in known if part.running()]:
        print(f"stopping {', '.join(running)} …", flush=True)
    ended = parts.end([part for part in known if not part.noted_in])
    ended += parts.end([part for part in known if part.noted_in])
    parts.forget(DIRECTORY)
    print(f"stopped {', '.join(ended)}" if ended else "no cluster was up: nothing to stop")
    if DIRECTORY.is_dir():
        shown = _short(DIRECTORY)
        print(f"{shown} ({_taken(DIRECTORY) / 1e6:.0f} MB of data and logs) stays; rm -rf {shown} removes it")


def _taken(directory: Path) -> int:
    """Bytes on the disk below a directory; a file with several names, as a snapshot's have, counts once."""
    found: dict[tuple[int, int], int] = {}
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def stop(name: str) -> None:
    """End one part."""
    part = parts.named(DIRECTORY, name)
    print(f"stopped {name}" if parts.end([part]) else f"{name} was not running")


def start(name: str) -> None:
    """Start one part as `up` did."""
    part = parts.named(DIRECTORY, name)
    if pid := part.running():
        print(f"{name} runs already, pid {pid}")
        return
    started = parts.start(part)
    parts.write(DIRECTORY, [started if each.name == name else each for each in parts.read(DIRECTORY)])
    print(f"started {name}, pid {started.pid}, log {_short(Path(started.log))}")


def cql(statement: str) -> None:
    """Run a statement and print its rows, columns under their own names. Raises PartError with what the server has
    against it."""
    if not statement.strip():
        raise PartError("say which statement: make cluster-cql CQL='SELECT * FROM shop.orders LIMIT 5'")
    nodes = [part for part in parts.read(DIRECTORY) if part.name.startswith("node") and part.running()]
    if not nodes:
        raise PartError("no node runs; make cluster starts them")
    try:
        session = open_session([node.address for node in nodes])
        try:
            found = session.execute(statement)
            for row in found:  # their own field names are those that Python allows
                print(", ".join(f"{name} = {value}" for name, value in zip(found.column_names, row, strict=True)))
            print("done")
        finally:
            close(session)
    except STATEMENT_ERRORS as error:
        raise PartError(reason_of(error)) from error


def main() -> None:
    """What the Makefile's targets call."""
    try:
        match sys.argv[1:]:
            case ["up"]:
                asyncio.run(up())
            case ["down"]:
                down()
            case ["stop", name]:
                stop(name)
            case ["start", name]:
                start(name)
            case ["cql", statement]:
                cql(statement)
            case _:
                sys.exit("usage: python -m tests.demo.playground up|down|stop PART|start PART|cql STATEMENT")
    except PartError as error:
        sys.exit(str(error))
    except ProcessError as error:
        sys.exit(f"the cluster could not be started, and what was started is ended again:\n{error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.flush()
    os._exit(0)  # without waiting for the driver's threads


if __name__ == "__main__":
    main()
