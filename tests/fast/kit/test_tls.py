"""What is told of certificates, keys and CAs that can't be used."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from kit.config import ConfigError, ConfigUnreadable
from kit.http_settings import HttpSettings, access_of
from kit.tls import TlsFileUnfit, TlsNames, client_context
from tests.cluster.certificates import Authority

NAMED = TlsNames("c.ca_file", "c.certificate_file", "c.key_file")


class Files:
    """A CA, a certificate and its key, each right until something is done to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory)
        self.ca = self.authority.ca
        self.certificate, self.key = self.authority.certificate("own")

    def __getitem__(self, name: str) -> Path:
        return {"ca": self.ca, "certificate": self.certificate, "key": self.key}[name]

    def served(self) -> None:
        settings = HttpSettings(tls_certificate=str(self.certificate), tls_key=str(self.key), client_ca=str(self.ca))
        access_of(settings)

    def asked(self) -> None:
        client_context(self.ca, self.certificate, self.key, named=NAMED)


SETTINGS = {"ca": "client_ca", "certificate": "tls_certificate", "key": "tls_key"}


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (Path.unlink, ConfigUnreadable, "No such file"),
        (lambda path: (path.unlink(), path.mkdir()), ConfigUnreadable, "Is a directory"),
        (lambda path: path.write_bytes(b"\x30\x82\x01\x00"), TlsFileUnfit, "PEM"),
        (lambda path: path.write_bytes(b""), TlsFileUnfit, "PEM"),
    ],
)
def test_a_file_that_cant_be_used_is_named_with_its_own_setting(
    tmp_path: Path, name: str, spoil: Callable[[Path], object], kind: type[ConfigError], said: str
) -> None:
    """Promise: whichever of the three files isn't there, can't be read or isn't PEM, the error has its path and its
    setting, and says what to do; in the table of a service as in that of a client."""
    files = Files(tmp_path)
    files.served()
    files.asked()
    spoil(files[name])
    for use, setting in ((files.served, f"http.{SETTINGS[name]}"), (files.asked, f"c.{name}_file")):
        with pytest.raises(kind, match=said) as refused:
            use()
        assert f"«{setting}»" in refused.value.message
        assert str(files[name]) in refused.value.message
        assert refused.value.fields == {"setting": setting, "file": str(files[name])}


def test_a_key_of_another_certificate_is_told_as_that(tmp_path: Path) -> None:
    """Promise: a pair that doesn't belong together names both files and both settings."""
    files = Files(tmp_path)
    _, files.key = files.authority.certificate("other")
    with pytest.raises(TlsFileUnfit, match=r"isn't the key of the certificate") as refused:
        files.served()
    for part in ("«http.tls_key»", "«http.tls_certificate»", str(files.key), str(files.certificate)):
        assert part in refused.value.message


def test_a_key_with_a_passphrase_is_refused_and_asked_for_nowhere(tmp_path: Path) -> None:
    """Promise: a service never waits at a terminal for the passphrase of a key; it says that the key has one."""
    files = Files(tmp_path)
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(TlsFileUnfit, match="passphrase") as refused:
        files.asked()
    assert refused.value.fields["setting"] == "c.key_file"


def test_a_certificate_without_its_key_says_where_the_key_may_stand(tmp_path: Path) -> None:
    """Promise: where no key is named it is read from the certificate's file, and what is missing there is told."""
    files = Files(tmp_path)
    with pytest.raises(TlsFileUnfit, match=r"«c\.key_file» names"):
        client_context(None, files.certificate, named=NAMED)
    files.certificate.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    client_context(None, files.certificate, named=NAMED)


def test_a_context_of_an_own_ca_trusts_nobody_else(tmp_path: Path) -> None:
    """Promise: with a CA given, names and certificates are checked against that one alone, from TLS 1.2 on."""
    context = client_context(Authority(tmp_path).ca, named=NAMED)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
