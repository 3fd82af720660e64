"""Writes TOML. In: nested dictionaries of plain values. Out: the text that tomllib reads back as the same."""

import json
from collections.abc import Mapping
from typing import Any


def dumps(tree: Mapping[str, Any]) -> str:
    """The tree as TOML; values are texts, numbers, booleans and lists of them, tables are mappings."""
    lines: list[str] = []
    _table(tree, (), lines)
    return "\n".join(lines) + "\n"


def _table(tree: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    if path:
        lines.append(f"[{'.'.join(_text(part) for part in path)}]")
    lines.extend(f"{_text(name)} = {_value(value)}" for name, value in tree.items() if not isinstance(value, Mapping))
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _table(value, (*path, name), lines)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, as long as no surrogate pairs are made."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with the changes, table by table."""
    result = dict(tree)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result
