"""What a Cassandra node reads when it starts, and the launchers that a person (or the agent) finds on it.

In: a `NodeSpec` and the node's directory. Out: files under it, written anew at every start: `conf/` (cassandra.yaml,
rack, logging, JMX and Jolokia credentials), `launchers/` (nodetool, sstableloader, sstableverify; see
`tests.cluster.node_launchers` for those that start and stop the node). What an agent may change in `conf/` is only
written when it is missing: jvm-server.options, commitlog_archiving.properties.
"""

import shlex
from pathlib import Path

import msgspec
import yaml

from tests.cluster import java, places
from tests.cluster.canaries import marked

JMX_USER = "helenus"
JMX_PASSWORD = marked("jmx-secret-of-tests")
JOLOKIA_USER = "jolokia"
JOLOKIA_PASSWORD = marked("jolokia-secret-of-tests")

_JVM_OPTIONS = "# Options of the JVM, one a line.\n"
_ARCHIVING = """# Archiving of the commit log, as Cassandra ships it: none.
archive_command=
restore_command=
restore_directories=
restore_point_in_time=
precision=MICROSECONDS
"""
_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <logger name="org.apache.cassandra.config.Config" level="WARN"/>
  <root level="LEVEL"><appender-ref ref="OUT"/></root>
</configuration>
"""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a scratch cluster. Ports are on `address`, but JMX, which Cassandra binds to 127.0.0.1."""

    version: str = places.CASSANDRA_50
    address: str
    tokens: tuple[int, ...]
    data_directories: int = 1
    dc: str = "dc1"
    rack: str = "rack1"
    jmx_port: int
    native_port: int = 9042
    storage_port: int = 7000
    heap_mb: int = 512
    jolokia_port: int | None = None
    authentication: bool = False
    """Password and grants for CQL (cassandra/cassandra to begin with), user and password for JMX."""
    bti: bool = False
    """Write BTI SSTables (5.0)."""
    uuid_sstables: bool = False
    options: dict[str, object] = {}
    """More lines of cassandra.yaml; they win over all others."""
    properties: dict[str, str] = {}
    """Java system properties, such as cassandra.replace_address_first_boot."""
    run_as: tuple[int, int, tuple[int, ...]] | None = None
    """User, group and further groups to run Cassandra as (needs root)."""


def data_directories(spec: NodeSpec, directory: Path) -> tuple[Path, ...]:
    """The node's data directories, in the order of cassandra.yaml."""
    return tuple(directory / f"data{number}" for number in range(spec.data_directories))


def settings(spec: NodeSpec, directory: Path, cluster_name: str, seeds: str) -> dict[str, object]:
    """The content of cassandra.yaml; what is not tests' business is as in the file that Cassandra ships."""
    lines: dict[str, object] = {
        "cluster_name": cluster_name,
        "num_tokens": len(spec.tokens),
        "initial_token": ",".join(str(token) for token in spec.tokens),
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(path) for path in data_directories(spec, directory)],
        "commitlog_directory": str(directory / "commitlog"),
        "hints_directory": str(directory / "hints"),
        "saved_caches_directory": str(directory / "saved_caches"),
        "cdc_raw_directory": str(directory / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10s",
        "commitlog_segment_size": "16MiB",
        "disk_failure_policy": "stop",
        "commit_failure_policy": "stop",
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "dynamic_snitch": False,
        "listen_address": spec.address,
        "rpc_address": spec.address,
        "native_transport_port": spec.native_port,
        "storage_port": spec.storage_port,
        "auto_bootstrap": False,
        "auto_snapshot": True,
        "materialized_views_enabled": True,
        "uuid_sstable_identifiers_enabled": spec.uuid_sstables,
        # Test data is written in batches, for speed alone.
        "batch_size_warn_threshold": "256KiB",
        "batch_size_fail_threshold": "1MiB",
        "unlogged_batch_across_partitions_warn_threshold": 1000,
        "concurrent_reads": 8,
        "concurrent_writes": 8,
        "concurrent_counter_writes": 8,
        # Two cores carry three nodes and the tests: what takes a second elsewhere may take several here.
        "write_request_timeout": "20s",
        "counter_write_request_timeout": "20s",
        "read_request_timeout": "20s",
        "range_request_timeout": "20s",
        "request_timeout": "20s",
        "seed_provider": [
            {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        ],
    }
    if spec.bti:
        lines |= {"sstable": {"selected_format": "bti"}, "storage_compatibility_mode": "NONE"}
    if spec.authentication:
        lines |= {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}
    return lines | spec.options


def write(spec: NodeSpec, directory: Path, cluster_name: str, seeds: str) -> list[str]:
    """Write the node's files; the JVM options that point at them."""
    conf = directory / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "cassandra.yaml").write_text(yaml.safe_dump(settings(spec, directory, cluster_name, seeds)))
    (conf / "rackdc.properties").write_text(f"dc={spec.dc}\nrack={spec.rack}\n")
    (conf / "logback.xml").write_text(_LOGBACK.replace("LEVEL", "INFO"))
    (conf / "logback-tools.xml").write_text(_LOGBACK.replace("LEVEL", "WARN"))
    for name, text in (("jvm-server.options", _JVM_OPTIONS), ("commitlog_archiving.properties", _ARCHIVING)):
        if not (conf / name).exists():
            (conf / name).write_text(text)
    options = [
        f"-Dcassandra.config=file://{conf / 'cassandra.yaml'}",
        f"-Dcassandra-rackdc.properties=file://{conf / 'rackdc.properties'}",
        f"-Dlogback.configurationFile={conf / 'logback.xml'}",
        f"-Dcassandra.storagedir={directory}",
        f"-Dcassandra.jmx.local.port={spec.jmx_port}",
        f"-Djava.io.tmpdir={directory / 'tmp'}",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=2000",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.shutdown_announce_in_ms=0",
        "-Dcassandra.consistent.rangemovement=false",
        # Every 2 ms by default, which takes a node that does nothing 2 % of a core, and many nodes stand here.
        "-Dcassandra.approximate_time_precision_ms=50",
        "-Dcassandra.memtable.row_overhead_size=180",  # bytes, as it measures: measuring takes 2 s of every start
        "-Dcassandra-foreground=yes",  # else it closes its standard output when it is up
    ]
    options += [f"-D{name}={value}" for name, value in spec.properties.items()]
    if spec.authentication:
        options += _jmx_authentication(conf)
    if spec.jolokia_port is not None:
        options += _jolokia(conf, spec.jolokia_port)
    _write_tools(spec.version, directory)
    return options


def _secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path


def _jmx_authentication(conf: Path) -> list[str]:
    users = _secret(conf / "jmxremote.password", f"{JMX_USER} {JMX_PASSWORD}\n")
    access = _secret(conf / "jmxremote.access", f"{JMX_USER} readwrite\n")
    return [
        "-Dcom.sun.management.jmxremote.authenticate=true",
        f"-Dcom.sun.management.jmxremote.password.file={users}",
        f"-Dcom.sun.management.jmxremote.access.file={access}",
        "-Dcom.sun.management.jmxremote.password.toHashes=false",  # nodetool -pwf reads the same file
    ]


def _jolokia(conf: Path, port: int) -> list[str]:
    jar = places.jolokia()
    if not jar.exists():
        raise places.MissingPart("the Jolokia agent", "make fetch")
    lines = f"host=127.0.0.1\nport={port}\nuser={JOLOKIA_USER}\npassword={JOLOKIA_PASSWORD}\ndiscoveryEnabled=false\n"
    return [f"-javaagent:{jar}=config={_secret(conf / 'jolokia.properties', lines)}"]


def _write_tools(version: str, directory: Path) -> None:
    launchers, conf = directory / "launchers", directory / "conf"
    launchers.mkdir(exist_ok=True)
    reads_the_node = (
        java.memory_meter(version),
        f"-Dcassandra.config=file://{conf / 'cassandra.yaml'}",
        f"-Dcassandra-rackdc.properties=file://{conf / 'rackdc.properties'}",
        f"-Dcassandra.storagedir={directory}",
        "-Xmx256m",
    )
    for name, main_class, options in (
        ("nodetool", "org.apache.cassandra.tools.NodeTool", ()),
        ("sstableloader", "org.apache.cassandra.tools.BulkLoader", ()),
        ("sstableverify", "org.apache.cassandra.tools.StandaloneVerifier", reads_the_node),
    ):
        command = shlex.join(java.tool(version, main_class, conf / "logback-tools.xml", options=options))
        launcher = launchers / name
        launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        launcher.chmod(0o755)
