"""CQL as text: names are quoted, statements split, ids left out, whatever the texts inside say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cassandra.cql_text import quote, statements, unquote, without_id

ID = "7fe7d710-e77b-11f1-8a68-917191c0c181"


@given(st.text(min_size=1))
def test_a_quoted_name_is_read_back_as_it_was(name: str) -> None:
    """Mixed case, quotes, anything."""
    assert unquote(quote(name)) == name


def test_statements_are_split_outside_of_texts_only() -> None:
    """Semicolons in strings, quoted names, $$ bodies and comments end nothing."""
    text = """CREATE TABLE a ("x;y" int) WITH comment = 'it''s; so'; -- a; comment
    /* another; */ ALTER TABLE a DROP "x;y" USING TIMESTAMP 5; CREATE FUNCTION f() AS $$ return 1; $$;"""
    assert statements(text) == [
        "CREATE TABLE a (\"x;y\" int) WITH comment = 'it''s; so'",
        'ALTER TABLE a DROP "x;y" USING TIMESTAMP 5',
        "CREATE FUNCTION f() AS $$ return 1; $$",
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"CREATE TABLE a.b (i int) WITH ID = {ID}\n    AND cdc = false", "CREATE TABLE a.b (i int) WITH cdc = false"),
        (f"CREATE TABLE a.b (i int) WITH ID = {ID}", "CREATE TABLE a.b (i int)"),
        (
            f"CREATE TABLE a.b (i int) WITH ID = {ID} AND comment = 'WITH ID = {ID}'",
            f"CREATE TABLE a.b (i int) WITH comment = 'WITH ID = {ID}'",
        ),
        ("CREATE TABLE a.b (i int) WITH cdc = false", "CREATE TABLE a.b (i int) WITH cdc = false"),
    ],
)
def test_the_table_id_is_left_out_and_nothing_else(statement: str, expected: str) -> None:
    """A table made for an import gets a new id: the old one may still be in use by a snapshot of a drop."""
    assert without_id(statement) == expected
