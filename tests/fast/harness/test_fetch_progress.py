"""What a person reads while parts are fetched."""

from tests.cluster.fetch import downloaded


def test_downloads_of_maven_are_added_up() -> None:
    """Promise: a long fetch tells how much has come."""
    said = [
        "[INFO] Scanning for projects...\n",
        "Downloading from central: https://repository.invalid/a.jar\n",
        "Downloaded from central: https://repository.invalid/a.jar (500 kB at 3.1 MB/s)\n",
        "Downloaded from central: https://repository.invalid/b.jar (2.5 MB at 900 kB/s)\n",
    ]
    assert downloaded(said) == "2 files downloaded, 3.0 MB"


def test_modules_of_go_are_counted_and_silence_is_work() -> None:
    """Promise: where sizes are not told, files are counted."""
    assert downloaded(["go: downloading golang.invalid/x v1.0.0\n"]) == "1 files downloaded"
    assert downloaded([]) == "working"
