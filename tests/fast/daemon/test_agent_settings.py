"""conf/agent.toml names every setting there is, with the default it has; and what can't be is refused by its path."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.daemon.settings import AgentSettings, check
from kit.config import ConfigError, parse
from tests.fast.daemon.commented import without_comment
from tests.fast.setting_names import setting_names

FILE = Path(__file__).resolve().parents[3] / "conf" / "agent.toml"

DIFFERENT = {"destinations.local_roots", "destinations.file_roots", "http.token_file"}
"""Settings whose example is not the default; the file says so."""


def uncommented() -> str:
    """The file with its commented-out tables switched on: lines of the form `# [table]` and `# name = value`."""
    return re.sub(r"^# (?=\[[a-z]|[a-z_]+ = )", "", FILE.read_text(), flags=re.MULTILINE)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = value
    return found


def test_the_file_as_it_stands_is_accepted() -> None:
    """Promise: the shipped file works without a change."""
    check(parse(FILE.read_text(), AgentSettings))


def test_the_file_names_every_setting_and_no_unknown_one() -> None:
    """Promise: the shipped file, uncommented, is the whole list of settings."""
    settings = parse(uncommented(), AgentSettings)
    check(settings)
    named = {name.replace("coordinators.main.", "coordinators.*.") for name in flat(tomllib.loads(uncommented()))}
    assert named == set(setting_names(AgentSettings))


def test_every_setting_of_the_file_says_what_it_is() -> None:
    """Promise: a comment stands right above each setting."""
    assert without_comment(FILE.read_text()) == []


def test_a_setting_that_says_nothing_is_found() -> None:
    """Not even among others that do, in a table that is commented out, or under a heading."""
    told = "# What it is.\na = 1\n# [t]\n# What that is\n# and more.\n# b = 2\n"
    assert without_comment(told) == []
    for silent in ("a = 1", "\na = 1", "# --- A ---\na = 1", "[t]\na = 1", "# [t]\n# a = 1", f"{told}# a = 1"):
        assert without_comment(silent) == [silent.splitlines()[-1]], silent


def test_what_the_file_says_is_the_default() -> None:
    """Promise: the values that the shipped file shows are what a left-out setting means."""
    defaults = flat(msgspec.json.decode(msgspec.json.encode(AgentSettings())))
    for name, value in flat(tomllib.loads(FILE.read_text())).items():
        if name not in DIFFERENT:
            assert defaults[name] == value, name


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('state_directory = "relative"', "state_directory"),
        ('[destinations]\nlocal_roots = ["a"]', "destinations.local_roots[0]"),
        ('[cassandra]\ndata_directories = ["/a", "b"]', "cassandra.data_directories[1]"),
        ('[cassandra.service]\nstart = ["/bin/true"]', "cassandra.service.stop"),
        ('[cassandra.service]\nlog_file = "system.log"', "cassandra.service.log_file"),
        ('[cassandra.archiving]\nproperties_file = "a.properties"', "cassandra.archiving.properties_file"),
        ('[cassandra.archiving]\ndirectory = "/a b"', "cassandra.archiving.directory"),
        ('[coordinators."../x"]\nurl = "http://h/"', "coordinators.../x"),
        ('[coordinators.main]\nurl = "ftp://h/"', "coordinators.main.url"),
        ("[transfer]\nnode_bytes_per_second = -1", "transfer.node_bytes_per_second"),
        ("[http]\nport = 70000", "http.port"),
        ('[log]\nlevel = "loud"', "log.level"),
        ("[cassandra.nodetool]\nprot = 1", "cassandra.nodetool.prot"),
        ("[cassandra.nodetool]\ncommand = []", "cassandra.nodetool.command"),
        ("[cassandra]\nsnapshot_ttl_seconds = 30", "cassandra.snapshot_ttl_seconds"),
        ('[cassandra]\ncommitlog_directory = "relative"', "cassandra.commitlog_directory"),
        ("[cassandra.space]\nkeep_free = 20.0", "cassandra.space.keep_free"),
        ('[cassandra.jolokia]\nurl = "127.0.0.1:8778"', "cassandra.jolokia.url"),
    ],
)
def test_a_setting_that_can_not_be_is_named_by_its_path(text: str, setting: str) -> None:
    """Promise: a value that can't be is refused with the path of its setting."""
    with pytest.raises(ConfigError) as caught:
        check(parse(text, AgentSettings))
    assert caught.value.fields["setting"] == setting
