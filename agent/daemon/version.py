"""The version of this installation. Out: the text that GET /v1/node and the metrics show."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "0+unknown"


def installed_version() -> str:
    """The distribution's version, `UNKNOWN` when it runs from a source tree that was not installed."""
    try:
        return version("helenus")
    except PackageNotFoundError:
        return UNKNOWN
