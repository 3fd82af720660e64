"""A module does one thing: 200 lines are wished for, 400 are the limit."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LIMIT = 400


def test_no_module_is_longer_than_400_lines() -> None:
    """Promise: modules stay small enough to be read at one sitting."""
    modules = [
        path
        for package in ("agent", "coordinator", "kit", "bench", "tests")
        for path in (REPOSITORY / package).rglob("*.py")
    ]
    assert len(modules) > 50, "the modules were not found"
    sizes = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in modules}
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
