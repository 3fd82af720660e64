"""S3 servers as the storage tests use them. In: a server of the harness. Out: the settings of a destination there.

They differ from each other in what they check, how they list, and how they lock, which is the reason to have two.
"""

from pathlib import Path

import msgspec

from agent.wire.destinations import S3Settings
from tests.cluster.stores import S3Server, Versity

BUCKET = "bucket"


class SecureVersity(Versity):
    """versitygw behind its own TLS."""

    def __init__(self, directory: Path, certificate: Path, key: Path, *, address: str) -> None:
        super().__init__(directory, address=address)
        backend = self.child.argv.index("posix")
        self.child.argv[backend:backend] = ["--cert", str(certificate), "--key", str(key)]
        (self.data / BUCKET).mkdir()

    @property
    def endpoint(self) -> str:
        """The URL to talk to."""
        return f"https://{self.address}:{self.port}"


def settings_for(server: S3Server, **fields: object) -> S3Settings:
    """The settings of a destination in the server's bucket, changed by `fields`."""
    settings = S3Settings(
        path=BUCKET, endpoint=server.endpoint, access_key=server.access_key, access_secret=server.access_secret
    )
    return msgspec.structs.replace(settings, **fields)
