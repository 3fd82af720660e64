"""Names that no kind of name allows, for hypothesis. In: nothing. Out: strategies of texts, each with a mark by which
it is found again wherever it went."""

from urllib.parse import quote

from hypothesis import strategies as st

MARK = "zq7xmark"
"""Stands in each name that is long enough to have one."""

_ODD = st.sampled_from(
    [
        "/",
        "\\",
        "\0",
        "\n",
        "\r",
        "\t",
        " ",
        '"',
        "'",
        ";",
        "|",
        "&",
        "$",
        "`",
        "*",
        "?",
        "%",
        "#",
        ":",
        "@",
        "é",
        "‮",
        "／",
        "．",
    ]
)
_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_LEADING = st.sampled_from(["../", "/", "-", "--", ".", "./", "..\\", "~/", "-rf ", "//", "C:\\", "%2e%2e/", "..;/"])

HOSTILE = st.one_of(
    st.builds(lambda before, odd, after: f"{before}{MARK}{odd}{after}", _ANY, _ODD, _ANY),
    st.builds(lambda leading, rest: f"{leading}{MARK}{rest}", st.sampled_from(["../", "/", ".", "./", "..\\"]), _ANY),
    st.builds(lambda depth, end: "../" * depth + MARK + end, st.integers(1, 40), _ANY),
    st.builds(lambda leading: f"{leading}{MARK}/../{MARK}", _LEADING),
    st.integers(300, 1_000).map(lambda length: (MARK * length)[:length]),
    st.sampled_from([".", "..", "...", "../..", "/", "\\", "\0", "-/", " ", "/etc/passwd", "file:///etc/passwd"]),
)
"""Refused whatever it is the name of: one that begins with a dot, or has a character that is in no name, or is longer
than any name. (A leading dash alone is none: a destination's id may have one, and stands in no command line.)"""


def in_path(name: str) -> str:
    """The name as one segment of a URL's path, dots too, so that no client resolves them."""
    return quote(name, safe="").replace(".", "%2E")
