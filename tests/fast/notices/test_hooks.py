"""Webhooks of the configuration: what is refused, by which setting, and without telling a secret."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.main import main, prepare
from coordinator.model.settings import CoordinatorSettings, WebhookSettings
from coordinator.notices.hooks import hooks_of
from kit.config import ConfigError, parse
from tests.fast.coordinator.test_service import configuration
from tests.fast.notices.given import SECRET, hook, secret_file

GOOD = "https://hooks.example.com/helenus"


@pytest.mark.parametrize(
    "url",
    [
        GOOD,
        "https://hooks.example.com:8443/a/b?c=d",
        "https://10.0.0.7/x",
        "https://[fd00::7]/x",
        "http://localhost:9000",
        "http://127.0.0.1:9000/x",
        "http://127.3.2.1/x",
        "http://[::1]:9000/x",
        "https://169.254.7.7/x",
        "https://[fe80::7]/x",
    ],
)
def test_a_receiver_may_be(tmp_path: Path, url: str) -> None:
    """Promise: names, private addresses, and what is written as such an address: this machine, a link-local one."""
    made = hook(tmp_path, url)
    assert (made.tls is not None) == url.startswith("https")
    assert made.url.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "ftp://hooks.example.com",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "https://",
        "https:///x",
        "https://hooks.example.com:0/x",
        "https://hooks.example.com:99999/x",
        "https://hooks.example.com:x/x",
        "http://hooks.example.com/x",
        "http://10.0.0.7/x",
        "http://localhost.example.com/x",
        "http://127.0.0.1.example.com/x",
        "https://ops:hunter22@hooks.example.com/x",
        "https://ops@hooks.example.com/x",
        "https://hooks.example.com/x#here",
        "https://hooks.example.com/x y",
        "https://hooks.example.com/x\r\nX-Evil: 1",
        "https://hooks.exämple.com/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/x",
        "https://[64:ff9b::a9fe:a9fe]/x",
        "https://[fd00:ec2::254]/x",
        "https://100.100.100.200/x",
        "https://169.254.170.2/x",
        "https://0.0.0.0/x",
        "https://[::]/x",
        "https://224.0.0.1/x",
        "https://255.255.255.255/x",
        "https://2852039166/x",
        "https://169.16689662/x",
        "https://0251.0376.0251.0376/x",
        "https://[::1/x",
        "https://[fd00:ec2::254%251]/x",
        "https://169.254.169.254\\.example.com/x",
        "https://2852039166./x",
        "https://hooks.example.com%2f.evil.com/x",
    ],
)
def test_a_receiver_may_not_be(tmp_path: Path, url: str) -> None:
    """Promise: the setting is named; the URL, which may hold a secret, isn't repeated."""
    with pytest.raises(ConfigError) as caught:
        hook(tmp_path, url)
    assert caught.value.fields["setting"] == "webhooks.ops.url"
    assert "hunter22" not in caught.value.message
    assert not url or url not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"secret_file": "relative"}, "secret_file"),
        ({"secret_file": "/nowhere/secret"}, "secret_file"),
        ({"events": ["*.failed", "bakcup.*"]}, "events[1]"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"url": "http://127.0.0.1/x", "ca_file": "/nowhere/ca.pem"}, "ca_file"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, changes: dict[str, Any], setting: str) -> None:
    """Promise: before anything starts; a pattern that no event has is a slip of the pen."""
    right: dict[str, Any] = {"url": GOOD, "secret_file": secret_file(tmp_path)}
    with pytest.raises(ConfigError) as caught:
        hooks_of({"ops": WebhookSettings(**{**right, **changes})})
    assert caught.value.fields["setting"] == f"webhooks.ops.{setting}"


@pytest.mark.parametrize("text", ["hunter22hunter22", "QUJD", "no base64, as one sees, of any length"])
def test_a_secret_that_is_none_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    """Promise: what would sign weakly, or not as receivers verify it, is an error of the configuration."""
    with pytest.raises(ConfigError) as caught:
        hooks_of({"ops": WebhookSettings(GOOD, secret_file(tmp_path, text))})
    assert caught.value.fields["setting"] == "webhooks.ops.secret_file"
    assert text not in caught.value.message


@pytest.mark.parametrize("name", ["", ".log", "a.b", "a b", "x" * 65])
def test_a_name_is_a_plain_word(name: str) -> None:
    """Promise: names go into metrics and the state, and none is taken for the log."""
    table = f'[webhooks."{name}"]\nurl = "{GOOD}"\nsecret_file = "/x"\n'
    with pytest.raises(ConfigError):
        parse(f'state_directory = "/s"\n[clusters.c]\nagents = ["http://127.0.0.1:1"]\n{table}', CoordinatorSettings)


def test_check_config_looks_at_webhooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: a right one is fine, a wrong one named, before the service runs."""
    table = f'[webhooks.ops]\nurl = "{GOOD}"\nsecret_file = "{secret_file(tmp_path)}"\n'
    file = configuration(tmp_path, more=table)
    assert main(["--config", str(file), "--check-config"]) == 0
    [made] = prepare(file).hooks
    assert (made.name, made.host, made.events) == ("ops", "hooks.example.com", [])
    for shown in (repr(made), str(made)):
        assert SECRET not in shown
        assert GOOD not in shown
    file = configuration(tmp_path, more=table.replace("https", "http"))
    assert main(["--config", str(file), "--check-config"]) == 2
    assert "«webhooks.ops.url» needs https" in capsys.readouterr().err
