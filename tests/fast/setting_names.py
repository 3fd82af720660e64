"""The settings that a type knows. In: a settings type. Out: the dotted name of each."""

import msgspec

from kit.config import nested


def setting_names(kind: type[msgspec.Struct], prefix: str = "") -> list[str]:
    """Every dotted setting path of a struct type; `*` stands for the name a person chooses (tables of tables)."""
    names: list[str] = []
    for field in msgspec.structs.fields(kind):
        path = f"{prefix}{field.encode_name}"
        struct, chosen = nested(field.type)
        if struct is None:
            names.append(path)
        else:
            names.extend(setting_names(struct, f"{path}.*." if chosen else f"{path}."))
    return names
