"""The readers of options, given anything: a value of their type, or a refusal by name."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.model.errors import InvalidArguments
from coordinator.opscenter import quirks


@given(st.text())
def test_only_cassandras_names_pass_as_names(text: str) -> None:
    """Whatever passes can stand in a path, in CQL and in an argument list as it is."""
    try:
        name = quirks.as_name(text, "name")
    except InvalidArguments:
        return
    assert name == text
    assert name.isascii()
    assert name.replace("_", "a").isalnum()


@given(st.text())
def test_only_safe_tags_pass(text: str) -> None:
    """No path separator, no dot file, no option."""
    try:
        tag = quirks.as_tag(text)
    except InvalidArguments:
        return
    assert tag[0] not in ".-"
    assert not set(tag) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_no_value_breaks_a_reader(value: Any) -> None:
    """Every reader gives its type or refuses by name, whatever JSON holds."""
    readers: list[tuple[Any, type]] = [
        (quirks.as_bool, bool),
        (quirks.as_bytes_per_second, int),
        (quirks.as_text, str),
        (quirks.as_object, dict),
        (quirks.as_list, list),
        (quirks.as_texts, list),
        (quirks.as_names, list),
        (quirks.as_tag, str),
        (quirks.as_destination_id, str),
    ]
    for reader, kind in readers:
        with contextlib.suppress(InvalidArguments):
            assert isinstance(reader(value, "field"), kind)
    try:
        number = quirks.as_int(value, "field")
    except InvalidArguments:
        return
    assert number is None or 0 <= number < 1 << 63
