"""conf/coordinator.toml names every setting there is, with the default it has."""

import re
import tomllib
from pathlib import Path

import msgspec

from coordinator.model.settings import ClusterSettings, CoordinatorSettings
from kit.config import parse
from tests.fast.daemon.commented import without_comment
from tests.fast.daemon.test_agent_settings import flat
from tests.fast.setting_names import setting_names

FILE = Path(__file__).resolve().parents[3] / "conf" / "coordinator.toml"

REQUIRED = {"state_directory", "clusters.main.agents"}
DIFFERENT = {"http.token_file", "clusters.main.token_file"}
"""Settings whose example is not the default; the file says so."""


def uncommented() -> str:
    """The file with its commented-out table switched on: lines of the form `# [table]` and `# name = value`."""
    return re.sub(r"^# (?=\[[a-z]|[a-z_]+ = )", "", FILE.read_text(), flags=re.MULTILINE)


def test_the_file_is_accepted_and_names_every_setting_and_no_unknown_one() -> None:
    """Promise: the shipped file works without a change, and uncommented it is the whole list of settings."""
    assert parse(FILE.read_text(), CoordinatorSettings).webhooks == {}
    parse(uncommented(), CoordinatorSettings)
    names = [name.replace("clusters.main.", "clusters.*.") for name in flat(tomllib.loads(uncommented()))]
    named = {name.replace("webhooks.ops.", "webhooks.*.") for name in names}
    assert named == set(setting_names(CoordinatorSettings))


def test_every_setting_of_the_file_says_what_it_is() -> None:
    """Promise: a comment stands right above each setting."""
    assert without_comment(FILE.read_text()) == []


def test_what_the_file_says_is_the_default() -> None:
    """Promise: the values that the shipped file shows are what a left-out setting means."""
    defaults = CoordinatorSettings("/s", {"main": ClusterSettings(["http://127.0.0.1:1"])})
    known = flat(msgspec.json.decode(msgspec.json.encode(defaults)))
    for name, value in flat(tomllib.loads(FILE.read_text())).items():
        if name not in REQUIRED | DIFFERENT:
            assert known[name] == value, name
