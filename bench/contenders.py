"""The peers to measure against: in, a node and a store; out, the commands of a first and a second backup.

Each raw tool takes and clears the same snapshot inside its clock, as a backup tool must.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

Command = Sequence[str]
NODETOOL_HOST = "127.0.0.1"


class Scene(msgspec.Struct, frozen=True):
    """Where everything is. `data`: the node's one data directory; `tools`: the `bin` directory of the peers' own
    environment; `endpoint`, `key`, `secret`, `bucket`: the S3 server; `local`: a directory on the same disk."""

    nodetool: str
    jmx_port: int
    cassandra_yaml: Path
    address: str
    data: Path
    tools: Path
    endpoint: str
    key: str
    secret: str
    bucket: str
    local: Path
    work: Path
    keyspaces: tuple[str, ...] = ()
    """What the snapshot takes; () = everything."""


class Contender(Protocol):
    """A peer. `place` is fresh for each first backup and the same for the second one."""

    name: str

    def first(self, scene: Scene, place: str) -> Sequence[Command]: ...

    def again(self, scene: Scene, place: str) -> Sequence[Command] | None:
        """The backup of the unchanged node; None where the peer has no such thing."""

    def env(self, scene: Scene) -> Mapping[str, str]: ...


def within_snapshot(scene: Scene, tag: str, command: Command) -> list[Command]:
    """The command between the snapshot and its clearing."""
    nodetool = [scene.nodetool, "-h", NODETOOL_HOST, "-p", str(scene.jmx_port)]
    return [[*nodetool, "snapshot", "-t", tag, *scene.keyspaces], command, [*nodetool, "clearsnapshot", "-t", tag]]


def s5cmd_program(scene: Scene) -> str:
    """The program itself: what the package puts into `bin` starts a Python first."""
    (program,) = scene.tools.parent.glob("lib/python3*/site-packages/s5cmd/bin/s5cmd")
    return str(program)


class S5cmd:
    """s5cmd, one request a file."""

    name = "s5cmd"

    def first(self, scene: Scene, place: str) -> Sequence[Command]:
        tag = f"s5cmd-{place}"
        include = f"*/snapshots/{tag}/*"
        copy = [
            *(s5cmd_program(scene), "--log", "error", "--endpoint-url", scene.endpoint),
            *("cp", "--include", include, f"{scene.data}/", f"s3://{scene.bucket}/s5cmd-{place}/"),
        ]
        return within_snapshot(scene, tag, copy)

    def again(self, scene: Scene, place: str) -> None:
        return None

    def env(self, scene: Scene) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": scene.key, "AWS_SECRET_ACCESS_KEY": scene.secret, "AWS_REGION": "us-east-1"}


class Rclone:
    """rclone with its defaults."""

    name = "rclone"

    def first(self, scene: Scene, place: str) -> Sequence[Command]:
        tag = f"rclone-{place}"
        copy = [
            *(str(scene.tools / "rclone"), "--config", "/dev/null", "copy", str(scene.data)),
            *(f":s3:{scene.bucket}/rclone-{place}", "--include", f"/*/*/snapshots/{tag}/**"),
        ]
        return within_snapshot(scene, tag, copy)

    def again(self, scene: Scene, place: str) -> None:
        return None

    def env(self, scene: Scene) -> Mapping[str, str]:
        return {
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": scene.endpoint,
            "RCLONE_S3_ACCESS_KEY_ID": scene.key,
            "RCLONE_S3_SECRET_ACCESS_KEY": scene.secret,
        }


class CopyAndSync:
    """`cp -r` of the snapshot and an fsync of the file system: the floor of a local destination."""

    name = "cp -r, sync"

    def first(self, scene: Scene, place: str) -> Sequence[Command]:
        tag = f"cp-{place}"
        target = scene.local / f"cp-{place}"
        script = (
            'mkdir -p "$3" && cd "$1" && find . -type d -path "*/snapshots/$2" -exec cp -r --parents -t "$3" {} + '
            '&& sync -f "$3"'
        )
        return within_snapshot(scene, tag, ["sh", "-c", script, "sh", str(scene.data), tag, str(target)])

    def again(self, scene: Scene, place: str) -> None:
        return None

    def env(self, scene: Scene) -> Mapping[str, str]:
        return {}


class Medusa:
    """cassandra-medusa, differential, 16 transfers, its bandwidth limit far above need."""

    def __init__(self, provider: str) -> None:
        """`provider`: `s3_compatible` or `local`."""
        self.name = "medusa" if provider == "s3_compatible" else "medusa, local"
        self._provider = provider

    def first(self, scene: Scene, place: str) -> Sequence[Command]:
        return [self._backup(scene, place, "first")]

    def again(self, scene: Scene, place: str) -> Sequence[Command]:
        return [self._backup(scene, place, "again")]

    def env(self, scene: Scene) -> Mapping[str, str]:
        return {}

    def _backup(self, scene: Scene, place: str, name: str) -> Command:
        config = self._config(scene, place)
        return [str(scene.tools / "medusa"), "--config-file", str(config), "backup-node", "--backup-name", name]

    def _config(self, scene: Scene, place: str) -> Path:
        credentials = scene.work / "medusa-credentials"
        credentials.write_text(f"[default]\naws_access_key_id = {scene.key}\naws_secret_access_key = {scene.secret}\n")
        host, _, port = scene.endpoint.removeprefix("http://").partition(":")
        base = scene.local / f"medusa-{place}"
        base.mkdir(parents=True, exist_ok=True)
        if self._provider == "local":
            storage = f"storage_provider = local\nbucket_name = bucket\nbase_path = {base}\n"
        else:
            storage = (
                f"storage_provider = s3_compatible\nbucket_name = {scene.bucket}\nprefix = medusa-{place}\n"
                f"key_file = {credentials}\nhost = {host}\nport = {port}\nsecure = False\nregion = us-east-1\n"
            )
        config = scene.work / f"medusa-{self._provider}-{place}.ini"
        config.write_text(
            f"[cassandra]\nconfig_file = {scene.cassandra_yaml}\nstop_cmd = true\nstart_cmd = true\nuse_sudo = False\n"
            f"resolve_ip_addresses = False\nnodetool_executable = {scene.nodetool}\nnodetool_flags =\n"
            f"nodetool_host = {NODETOOL_HOST}\nnodetool_port = {scene.jmx_port}\n[storage]\n{storage}"
            f"fqdn = {scene.address}\nuse_sudo_for_restore = False\nconcurrent_transfers = 16\n"
            "transfer_max_bandwidth = 10GB/s\n[kubernetes]\nenabled = False\n"
        )
        return config
