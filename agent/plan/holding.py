"""What a backup's reuse still owes to object lock. In: the objects that it names, and what is known to be held until
when. Out: which of them must be held for longer. Pure.
"""

import math
from collections.abc import Sequence

from agent.plan.objects import ObjectIndex


class Held:
    """Objects that are held until then at least, unix seconds."""

    def __init__(self, names: ObjectIndex | None = None, until: float = math.inf) -> None:
        self.names = names if names is not None else ObjectIndex()
        self.until = until

    def add(self, name: bytes, size: int, codec: int, until: float) -> None:
        """One more object, held until then."""
        self.names.add(name, size, codec)
        self.until = min(self.until, until)


class Owed:
    """What is not held until `due`, as far as `known` tells."""

    def __init__(self, known: Sequence[Held], due: float) -> None:
        self._enough = [held for held in known if held.until >= due]

    @property
    def until(self) -> float:
        """Until when everything that is not owed is held; infinite where everything is owed."""
        return min((held.until for held in self._enough), default=math.inf)

    def has(self, name: bytes, codec: int) -> bool:
        """Whether that object must be held for longer."""
        return all(held.names.get(name, codec) is None for held in self._enough)

    def any_of(self, named: ObjectIndex) -> bool:
        """Whether any of these must be."""
        return any(self.has(name, codec) for name, codec, _ in named.missing_from(ObjectIndex()))
