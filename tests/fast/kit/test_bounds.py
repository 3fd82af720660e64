"""Every number that a configuration may have is bounded on both sides, and the shipped files say how."""

import msgspec
import pytest

from agent.daemon.settings import AgentSettings
from coordinator.model.settings import CoordinatorSettings
from kit.config import ConfigError, bounds_of, nested, parse
from tests.cluster.places import REPOSITORY
from tests.fast.daemon.commented import comment_of

KINDS: dict[str, type[msgspec.Struct]] = {"agent.toml": AgentSettings, "coordinator.toml": CoordinatorSettings}


def numbers(kind: type[msgspec.Struct], prefix: str = "") -> dict[str, object]:
    """The type of every number by its dotted path; `main` stands for the name a person chooses."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        path = f"{prefix}{field.encode_name}"
        struct, chosen = nested(field.type)
        if struct is not None:
            found |= numbers(struct, f"{path}.main." if chosen else f"{path}.")
        elif isinstance(msgspec.inspect.type_info(field.type), msgspec.inspect.IntType | msgspec.inspect.FloatType):
            found[path] = field.type
    return found


def text_of(path: str, value: object) -> str:
    """A configuration with this one setting."""
    table, _, name = path.rpartition(".")
    return f"[{table}]\n{name} = {value}\n" if table else f"{name} = {value}\n"


@pytest.mark.parametrize("file", KINDS)
def test_no_number_is_without_bounds_and_the_file_tells_them(file: str) -> None:
    """Promise: what can't be is refused when it is read; the range stands above the setting or, where it is one for
    all times or ports, at the file's head."""
    text = (REPOSITORY / "conf" / file).read_text()
    head = text.partition("\n\n")[0].replace("\n# ", " ")
    found = numbers(KINDS[file])
    assert len(found) > 10
    for path, kind in found.items():
        bounds = bounds_of(kind)
        assert bounds is not None, path
        told = f"{bounds[0]} to {bounds[1]}"
        assert told in comment_of(text, path) or told in head, (path, told)


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("cassandra.space.backup_free", "200.0", "0 to 99"),
        ("cassandra.space.keep_free", "-1.0", "0 to 99"),
        ("sweep.margin_seconds", "0", "0.5 to 86400"),
        ("sweep.silence_seconds", "0.0", "60 to 604800"),
        ("cassandra.nodetool.port", "0", "1 to 65535"),
        ("cassandra.cql.port", "70000", "1 to 65535"),
        ("cassandra.cql.request_seconds", "-1.0", "0.1 to 604800"),
        ("cassandra.nodetool.deadline_seconds", "inf", "0.1 to 604800"),
        ("destinations.poll_seconds", "nan", "0.1 to 604800"),
        ("cassandra.snapshot_ttl_seconds", "-1", "0 to 315360000"),
        ("http.max_connections", "0", "8 to 65536"),
        ("http.port", '"x"', "0 to 65535"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_its_path_and_range(path: str, value: str, allowed: str) -> None:
    """Promise: one reads what was wrong and what is right in the same line."""
    with pytest.raises(ConfigError) as caught:
        parse(text_of(path, value), AgentSettings)
    assert caught.value.fields["setting"] == path
    assert f"«{path}»" in caught.value.message
    assert f"allowed: {allowed}" in caught.value.message
