"""Where a local destination may lie."""

from pathlib import Path

import pytest

from agent.storage.local.files import allowed_path
from agent.storage.protocol import BadSettings


def test_only_directories_under_the_roots_are_allowed(tmp_path: Path) -> None:
    """Promise: no path, however spelled or linked, leads out of the allowed roots."""
    root, other, outside = tmp_path / "root", tmp_path / "other", tmp_path / "outside"
    for directory in (root, other, outside):
        directory.mkdir()
    (root / "link").symlink_to(outside)
    (root / "inner").symlink_to(other)
    roots = [root, other]
    assert allowed_path("backups/x", roots) == root / "backups/x"
    assert allowed_path(str(other), roots) == other
    assert allowed_path(str(root / "a"), roots) == root / "a"
    assert allowed_path("inner/x", roots) == other / "x"
    for path in ("../outside", str(outside), "link", "link/x", "/", "", "a\0b", str(tmp_path / "rooted")):
        with pytest.raises(BadSettings) as refusal:
            allowed_path(path, roots)
        assert refusal.value.fields["setting"] == "path"
    with pytest.raises(BadSettings):
        allowed_path("a", [])


@pytest.mark.parametrize("path", ["a" * 300, "x/" + "é" * 150 + "/y"])
def test_a_name_that_is_too_long_for_the_file_system_is_refused_by_its_setting(tmp_path: Path, path: str) -> None:
    """Bytes count, not characters; the error is short all the same."""
    assert allowed_path("a" * 255, [tmp_path]) == tmp_path / ("a" * 255)
    for roots in ([tmp_path], [tmp_path / "not made yet"]):
        with pytest.raises(BadSettings, match=r"has a name of 300 bytes.* takes 255 at most") as caught:
            allowed_path(path, roots)
        assert caught.value.fields["setting"] == "path"
        assert len(caught.value.message) < 250
