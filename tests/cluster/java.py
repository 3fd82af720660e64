"""How Cassandra's programs are started on Java 17 (or up to 23): JVM options, classpaths and class archives.

In: a Cassandra version whose jars were fetched. Out: argument lists. The options favour a quick start over a high top
speed (the client compiler alone, the serial collector, an archive of loaded classes): tests start many JVMs.
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster import places

_ALL = "=ALL-UNNAMED"

# What Cassandra's own Java 17 options open, and what nodetool needs besides.
_EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management/com.sun.jmx.remote.security",  # JMX with a password
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)
_MODULES = tuple(f"--add-exports={name}{_ALL}" for name in _EXPORTS) + tuple(
    f"--add-opens={name}{_ALL}" for name in _OPENS
)
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
# Cassandra wants its memory meter as an agent; archives made beside an agent need this consent.
_ARCHIVE_BESIDE_AGENT = ("-XX:+UnlockDiagnosticVMOptions", "-XX:+AllowArchivingWithJavaAgent")


OLDEST, NEWEST = 17, 23
"""Versions of Java. Cassandra 4.1 and 5.0 set a security manager as they start: from 18 on that must be allowed, from
24 on it can't be."""
_VERSION = re.compile(r'version "(\d+)')


@functools.cache
def java() -> tuple[str, ...]:
    """The java command and what its version needs to be told: the one on PATH, or else one that is installed beside it.
    Raises MissingPart when none has a version that Cassandra starts on."""
    for path in _installed():
        version = version_of(path)
        if OLDEST <= version <= NEWEST:
            return (path, "-Djava.security.manager=allow") if version > OLDEST else (path,)
    raise places.MissingPart(f"Java {OLDEST} to {NEWEST}", "make prerequisites")


def _installed() -> Iterator[str]:
    on_path = shutil.which("java")
    if on_path is not None:
        yield on_path
    yield from sorted(str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java"))


def version_of(path: str) -> int:
    """The major version of a java command, 0 when it doesn't say."""
    try:
        told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError:
        return 0
    found = _VERSION.search(told)
    return int(found[1]) if found else 0


def jars(version: str) -> list[Path]:
    """The jars of a Cassandra version in a fixed order, as class archives demand; raises MissingPart."""
    found = sorted(places.cassandra(version).glob("*.jar"))
    if not found:
        raise places.MissingPart(f"Cassandra {version}", "make fetch")
    return found


def _classpath(version: str, *further: Path) -> list[str]:
    return ["-cp", ":".join(str(path) for path in (*jars(version), *further))]


def _archive(path: Path) -> list[str]:
    return [f"-XX:SharedArchiveFile={path}"] if path.exists() else []


def memory_meter(version: str) -> str:
    """The option that makes Cassandra's memory meter an agent: what opens tables wants it so."""
    jamm = next(jar for jar in jars(version) if jar.name.startswith("jamm-"))
    return f"-javaagent:{jamm}"


def node(version: str, heap_mb: int, options: list[str], conf: Path, archive_to: Path | None = None) -> list[str]:
    """The argument list of a Cassandra node; `archive_to` writes a class archive when it ends. `conf` is where it looks
    for its further files (commitlog_archiving.properties): behind the jars, for an archive fits every classpath that
    begins as its own, and none can be made over a directory."""
    archive = [f"-XX:ArchiveClassesAtExit={archive_to}"] if archive_to else _archive(places.node_archive(version))
    return [
        *java(),
        *_QUICK,
        *_ARCHIVE_BESIDE_AGENT,
        *archive,
        memory_meter(version),
        f"-Xms{heap_mb}m",
        f"-Xmx{heap_mb}m",
        "-Xss512k",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        "-Djdk.attach.allowAttachSelf=true",
        "-Djava.awt.headless=true",
        *_MODULES,
        *options,
        *_classpath(version, *(() if archive_to else (conf,))),
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def tool(
    version: str, main_class: str, logback: Path, archive_to: Path | None = None, options: Sequence[str] = ()
) -> list[str]:
    """The argument list of a tool such as nodetool, without the tool's own arguments; `options`: further ones of the
    JVM."""
    name = main_class.rpartition(".")[2].lower()
    archive = [f"-XX:ArchiveClassesAtExit={archive_to}"] if archive_to else _archive(places.tool_archive(version, name))
    return [
        *java(),
        *_QUICK,
        *archive,
        "-Xmx128m",
        *_MODULES,
        "-Dcom.sun.jndi.rmiURLParsing=legacy",
        f"-Dlogback.configurationFile={logback}",
        *options,
        *_classpath(version),
        main_class,
    ]
