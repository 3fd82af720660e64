"""Fetches what real tests need into `<repository>/build`: `python -m tests.cluster.fetch [part …]`, all by default.

In: names of parts. Out: files under `build/`, each part whole or absent (a temporary directory, renamed last): a killed
fetch is never taken for a finished one. What is there is left alone. Registries come from the configuration of Maven
and Go. A missing program is an error that names it.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster import archives, places

GO_PROGRAMS = {
    "versitygw": ("github.com/versity/versitygw/cmd/versitygw@v1.8.0", "versitygw"),
    "toxiproxy": ("github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0", "server"),
}

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>helenus</groupId><artifactId>fetched</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{classifier}
{exclusions}</dependency></dependencies></project>
"""
_EXCLUDE_ALL = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


class FetchError(Exception):
    """Something could not be fetched; the message says what, and what to do."""


def _run(argv: Sequence[str | Path], what: str, env: Mapping[str, str] | None = None) -> None:
    program = str(argv[0])
    if shutil.which(program) is None:
        raise FetchError(f"{what} needs `{program}`, which is not on PATH; run: make prerequisites")
    done = subprocess.run(
        [str(part) for part in argv],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FetchError(f"{what}: `{program}` ended with {done.returncode}:\n{done.stdout[-3000:]}")


def _whole(target: Path, make: Callable[[Path], None]) -> None:
    """Have `make` fill a temporary place, then rename it to `target`; nothing to do when `target` is there."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as directory:
        made = Path(directory) / target.name
        make(made)
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # else somebody else fetched the same in the meantime
                raise


def _maven(group: str, artifact: str, version: str, into: Path, classifier: str = "", *, alone: bool = False) -> None:
    """Copy an artifact, with its dependencies unless `alone`, into a directory."""
    into.mkdir(parents=True)
    pom = into.parent / "pom.xml"
    pom.write_text(
        _POM.format(
            group=group,
            artifact=artifact,
            version=version,
            classifier=f"<classifier>{classifier}</classifier>" if classifier else "",
            exclusions=_EXCLUDE_ALL if alone else "",
        )
    )
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={into}", "-DincludeScope=runtime"]
    _run(["mvn", "-q", "-B", "-f", pom, *goal], f"{artifact} {version}")
    pom.unlink()


def cassandra(version: str) -> None:
    """The jars of a Cassandra version."""
    _whole(places.cassandra(version), lambda into: _maven("org.apache.cassandra", "cassandra-all", version, into))


def jolokia() -> None:
    """The Jolokia JVM agent."""

    def make(made: Path) -> None:
        jars = made.parent / "jars"
        _maven("org.jolokia", "jolokia-agent-jvm", places.JOLOKIA, jars, "javaagent", alone=True)
        next(jars.glob("*-javaagent.jar")).rename(made)

    _whole(places.jolokia(), make)


def go_program(part: str) -> None:
    """A test server written in Go, built from its pinned version."""
    module, built_name = GO_PROGRAMS[part]
    target = places.BUILD / "bin" / ("toxiproxy-server" if part == "toxiproxy" else part)

    def make(made: Path) -> None:
        _run(["go", "install", module], part, {"GOBIN": str(made.parent / "go"), "GOFLAGS": "-buildvcs=false"})
        (made.parent / "go" / built_name).rename(made)

    _whole(target, make)


def class_archives() -> None:
    """Archives of loaded classes: a start of a node or of nodetool then takes a third less."""
    for version in (places.CASSANDRA_50, places.CASSANDRA_41):
        asyncio.run(archives.make(version))


PARTS: dict[str, Callable[[], None]] = {
    "cassandra-5.0": lambda: cassandra(places.CASSANDRA_50),
    "cassandra-4.1": lambda: cassandra(places.CASSANDRA_41),
    "jolokia": jolokia,
    "versitygw": lambda: go_program("versitygw"),
    "toxiproxy": lambda: go_program("toxiproxy"),
    "class-archives": class_archives,
}


def main() -> int:
    """Fetch the parts that the command line names, or all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.fetch", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of: {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are: {', '.join(PARTS)}")
    for part in wanted:
        print(f"fetch: {part}", flush=True)
        try:
            PARTS[part]()
        except (FetchError, places.MissingPart) as error:
            print(f"fetch: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
