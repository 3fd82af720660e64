"""Names in a sentence. In: however many. Out: some of them, and how many more there are."""

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """The first `most` of the names, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{between.join(names[:most])}{more}"
