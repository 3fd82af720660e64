"""Makes the archives of loaded classes that let nodes and nodetool start sooner (class data sharing of Java 17).

In: a Cassandra version whose jars are there. Out: `build/archives/*.jsa`, by a node and a nodetool that ran once.
A JVM that cannot use an archive (another Java, other jars) ignores it.
"""

import tempfile
from pathlib import Path

from tests.cluster import java, places
from tests.cluster.cassandra import CassandraNode, NodeSpec
from tests.cluster.ports import free_network, free_port
from tests.cluster.processes import run

_NODETOOL = "org.apache.cassandra.tools.NodeTool"


def there(version: str) -> bool:
    """Whether both archives of a version are there."""
    return places.node_archive(version).exists() and places.tool_archive(version, "nodetool").exists()


async def make(version: str) -> None:
    """Make the archives of a version unless they are there."""
    if there(version):
        return
    node_archive, tool_archive = places.node_archive(version), places.tool_archive(version, "nodetool")
    node_archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=places.BUILD) as made_in:
        directory = Path(made_in)
        spec = NodeSpec(version=version, address=f"{free_network()}.1", tokens=(0,), jmx_port=free_port())
        node = CassandraNode(spec, directory / "node", archive_to=directory / "node.jsa")
        try:
            await node.start()
            tool = java.tool(version, _NODETOOL, node.directory / "conf" / "logback-tools.xml", directory / "tool.jsa")
            await run([*tool, "-h", "127.0.0.1", "-p", str(spec.jmx_port), "snapshot", "-t", "once", "system_schema"])
            await node.stop()
        finally:
            if node.alive:
                await node.kill()
        (directory / "tool.jsa").replace(tool_archive)
        (directory / "node.jsa").replace(node_archive)
