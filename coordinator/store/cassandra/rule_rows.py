"""Rules of retention as rows of a cluster's record. In: rows. Out: a ruling; and of a ruling, what becomes of the rows.

A row is removed only together with what says that its rule ended (`ruling`): one change of one record.
"""

from collections.abc import Iterable

import msgspec

from coordinator.model.retention import KeptRule
from coordinator.store.cassandra.tables import Drop, Row
from coordinator.store.ruling import Ruling

RULE = "rule"
"""The part of the record."""


def rule_of(row: Row) -> KeptRule:
    """The rule that the row holds."""
    return msgspec.json.decode(row.data, type=KeptRule)


def ruling_of(cluster: str, rows: Iterable[Row]) -> Ruling:
    """The cluster's rules; `rows`: all of their part, and any others."""
    return Ruling(cluster, [rule_of(row) for row in rows if row.part == RULE])


def puts_of(ruling: Ruling) -> list[Row]:
    """The rows to be written."""
    return [Row(RULE, _name(kept.destination, kept.backup_id), msgspec.json.encode(kept)) for kept in ruling.puts]


def drops_of(ruling: Ruling) -> list[Drop]:
    """The rows to be removed."""
    return [Drop(RULE, _name(*name)) for name in ruling.drops]


def _name(place: str, backup_id: str) -> str:
    return f"{place}/{backup_id}"
