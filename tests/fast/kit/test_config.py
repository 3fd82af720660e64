"""The configuration's promise: an error names the setting's path and what is allowed there; secrets are in files."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from kit.config import ConfigError, load, parse, read_secret
from kit.secret import Secret
from tests.fast.setting_names import setting_names


class Coordinator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 1
    host: str = "x"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    http: Http = Http()
    coordinators: Annotated[dict[str, Coordinator], msgspec.Meta(max_length=9)] = {}
    roots: list[str] = []


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, Settings)
    return caught.value


def test_a_wrong_type_is_named_by_its_dotted_path() -> None:
    error = refused('[http]\nport = "a"')
    assert error.fields["setting"] == "http.port"
    assert "expected `int`, got `str`" in error.message


def test_an_unknown_setting_is_named_with_those_allowed_and_the_nearest_one() -> None:
    error = refused("[http]\nprot = 1")
    assert error.fields["setting"] == "http.prot"
    assert "did you mean «port»" in error.message
    assert "allowed here: host, port" in error.message


def test_an_unknown_setting_inside_a_named_table_is_explained_too() -> None:
    error = refused('[coordinators.main]\nurl = "u"\nurll = "u"')
    assert "allowed here: url" in error.message


def test_a_missing_setting_is_named() -> None:
    assert "coordinators" in str(refused("[coordinators.main]\n").fields["setting"])


def test_a_text_that_is_no_toml_names_the_line() -> None:
    assert "line 2" in refused("[http]\nport = = 1").message


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        load(tmp_path / "nothing.toml", Settings)


def test_every_setting_has_a_path() -> None:
    assert setting_names(Settings) == ["http.port", "http.host", "coordinators.*.url", "roots"]


def test_a_secret_is_read_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(0o640)
    assert read_secret(str(path), setting="http.token_file") == Secret("s3cret")


def test_a_secret_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody") as caught:
        read_secret(str(path), setting="http.token_file")
    assert "s3cret" not in str(caught.value.as_dict())


def test_a_credential_is_read_from_the_directory_that_systemd_names(tmp_path: Path) -> None:
    path = tmp_path / "agent-token"
    path.write_text("abc")
    path.chmod(0o400)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("credential:agent-token", setting="x", environment=environment).reveal() == "abc"
    with pytest.raises(ConfigError, match="no credentials"):
        read_secret("credential:agent-token", setting="x", environment={})


@pytest.mark.parametrize("name", ["", "../token", "a/b", ".hidden"])
def test_a_credential_name_can_not_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        read_secret(f"credential:{name}", setting="x", environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_relative_path_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absolute"):
        read_secret("token", setting="x")
    path = tmp_path / "token"
    path.touch(0o600)
    with pytest.raises(ConfigError, match="empty"):
        read_secret(str(path), setting="x")
