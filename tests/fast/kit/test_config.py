"""The configuration's promise: an error names the setting's path and what is allowed there; secrets are in files."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from kit.config import ConfigError, load, parse, read_secret
from kit.secret import Secret
from tests.fast.setting_names import setting_names


class Coordinator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    paths: list[str] = []


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 1
    host: str = "x"


Name = Annotated[str, msgspec.Meta(pattern="^[a-z.]+$")]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    http: Http = Http()
    coordinators: Annotated[dict[Name, Coordinator], msgspec.Meta(max_length=9)] = {}
    roots: list[str] = []
    listeners: list[Http] = []


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, Settings)
    return caught.value


def test_a_wrong_type_is_named_by_its_dotted_path() -> None:
    """Promise: a value of the wrong type is refused with its path and the type expected."""
    error = refused('[http]\nport = "a"')
    assert error.fields["setting"] == "http.port"
    assert "expected `int`, got `str`" in error.message


def test_an_unknown_setting_is_named_with_those_allowed_and_the_nearest_one() -> None:
    """Promise: a slip in a name is answered with what was probably meant."""
    error = refused("[http]\nprot = 1")
    assert error.fields["setting"] == "http.prot"
    assert "did you mean «port»" in error.message
    assert "allowed here: host, port" in error.message


GOOD = '[coordinators.good]\nurl = "u"\n'


@pytest.mark.parametrize("text", ["{good}{bad}", "{bad}{good}"], ids=["last", "first"])
@pytest.mark.parametrize(
    ("bad", "setting"),
    [
        ('[coordinators."b.d"]\nurl = "u"\nurll = "u"\n', "coordinators.b.d.urll"),
        ("[coordinators.bad]\n", "coordinators.bad.url"),
        ("[coordinators.bad]\nurl = 1\n", "coordinators.bad.url"),
        ('[coordinators.bad]\nurl = "u"\npaths = ["a", 2]\n', "coordinators.bad.paths[1]"),
        ('[coordinators.BAD]\nurl = "u"\n', "coordinators.BAD"),
    ],
)
def test_of_several_named_tables_the_wrong_one_is_named(text: str, bad: str, setting: str) -> None:
    """Promise: with two clusters one knows which of them is wrong."""
    error = refused(text.format(good=GOOD, bad=bad))
    assert error.fields["setting"] == setting
    assert f"«{setting}»" in error.message


def test_an_unknown_setting_inside_a_named_table_is_explained_too() -> None:
    """Promise: so it is inside a table whose name is free."""
    assert "allowed here: paths, url" in refused('[coordinators.main]\nurl = "u"\nurll = "u"').message


def test_what_stands_in_a_list_is_named_by_its_position() -> None:
    """Promise: the first of a list is [0], whatever it holds."""
    assert refused('roots = ["a", 2]').fields["setting"] == "roots[1]"
    error = refused("listeners = [{}, {prot = 1}]")
    assert error.fields["setting"] == "listeners[1].prot"
    assert "did you mean «port»" in error.message


def test_a_text_that_is_no_toml_names_the_line() -> None:
    """Promise: a file that is no TOML is refused with the line."""
    assert "line 2" in refused("[http]\nport = = 1").message


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Promise: a configuration that isn't there is named."""
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        load(tmp_path / "nothing.toml", Settings)


def test_every_setting_has_a_path() -> None:
    """Promise: the list of settings goes into tables, named ones and lists too."""
    assert setting_names(Settings) == [
        *("http.port", "http.host", "coordinators.*.url", "coordinators.*.paths", "roots"),
        *("listeners.*.port", "listeners.*.host"),
    ]


def test_a_secret_is_read_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    """Promise: an editor's last newline is no part of a secret."""
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(0o640)
    assert read_secret(str(path), setting="http.token_file") == Secret("s3cret")


def test_a_secret_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    """Promise: I9: a secret that others can read is refused, and not quoted."""
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody") as caught:
        read_secret(str(path), setting="http.token_file")
    assert "s3cret" not in str(caught.value.as_dict())


@pytest.mark.parametrize("read", [lambda path: load(path, Settings), lambda path: read_secret(str(path), setting="x")])
def test_a_file_that_can_not_be_read_asks_for_path_and_rights(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Promise: nobody is sent to a setting of a file that isn't there; the message names the file."""
    with pytest.raises(ConfigError, match="nowhere") as caught:
        read(tmp_path / "nowhere.toml")
    assert (
        caught.value.todo == "Correct the file's path, or let the service's user read it, and start the service again."
    )


def test_a_credential_is_read_from_the_directory_that_systemd_names(tmp_path: Path) -> None:
    """Promise: `credential:` reads systemd's credential, and says when there is none."""
    path = tmp_path / "agent-token"
    path.write_text("abc")
    path.chmod(0o400)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("credential:agent-token", setting="x", environment=environment).reveal() == "abc"
    with pytest.raises(ConfigError, match=r"CREDENTIALS_DIRECTORY is not set.* no credentials"):
        read_secret("credential:agent-token", setting="x", environment={})


@pytest.mark.parametrize("name", ["", "../token", "a/b", ".hidden"])
def test_a_credential_name_can_not_leave_the_directory(tmp_path: Path, name: str) -> None:
    """Promise: a credential's name reaches no other file."""
    with pytest.raises(ConfigError):
        read_secret(f"credential:{name}", setting="x", environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_relative_path_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    """Promise: a secret never depends on the working directory and is never empty."""
    with pytest.raises(ConfigError, match="absolute"):
        read_secret("token", setting="x")
    path = tmp_path / "token"
    path.touch(0o600)
    with pytest.raises(ConfigError, match="empty"):
        read_secret(str(path), setting="x")
