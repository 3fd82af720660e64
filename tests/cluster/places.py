"""Where fetched things lie: everything under `<repository>/build`, which git ignores.

In: names and versions. Out: paths, and the error that says what is missing and which command brings it.
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
CASSANDRA_50 = "5.0.9"
CASSANDRA_41 = "4.1.10"
JOLOKIA = "2.1.2"
AZURITE = "3.35.0"
"""The newest that the Node.js of Debian and its derivatives runs (later ones need 21)."""


class MissingPart(Exception):
    """Something that real tests need is not there; never a reason to skip."""

    def __init__(self, what: str, command: str) -> None:
        super().__init__(f"{what} is missing; run: {command}")


def cassandra(version: str) -> Path:
    """The directory of the jars of one Cassandra version."""
    return BUILD / "cassandra" / version / "lib"


def jolokia() -> Path:
    """The Jolokia agent's jar."""
    return BUILD / "jolokia" / f"jolokia-agent-jvm-{JOLOKIA}.jar"


def azurite() -> Path:
    """Where azurite and what it needs lie (there or not)."""
    return BUILD / "azurite" / AZURITE


def program(name: str) -> Path:
    """A fetched program; raises MissingPart."""
    path = BUILD / "bin" / name
    if not path.exists():
        raise MissingPart(name, "make fetch")
    return path


def node_archive(version: str) -> Path:
    """The archive of the classes a node loads (there or not)."""
    return BUILD / "archives" / f"node-{version}.jsa"


def tool_archive(version: str, name: str) -> Path:
    """The archive of the classes a tool loads (there or not)."""
    return BUILD / "archives" / f"{name}-{version}.jsa"
