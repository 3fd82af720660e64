"""What mutmut found: it is asked for its results, and for the difference that each surviving mutant makes.

In: the directory of mutants that a run left. Out: survivors as docs/mutants.md lists them, and counts by module. What
makes a sentence louder, or puts letters around it, changes the wording of a message and is only counted: which words an
error has is for its reader to judge, and what it is made of (its kind, its fields, what it names) is mutated apart.
"""

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tests.mutation.listed import Survivor

_RESULT = re.compile(r"^ {4}agent\.([\w.]+)\.x(?:_|ǁ(\w+?)ǁ)(\w+?)__mutmut_(\d+): ([a-z ]+)$", re.MULTILINE)
_UNNOTICED = ("survived", "no tests", "suspicious")
_SENTENCE = re.compile(r'"([^"]* [^"]*)"')
_AROUND = 24
"""Characters that a change keeps on each side of what differs, and then to the end of the word."""


@dataclass(frozen=True, slots=True)
class Results:
    """All survivors, and by module how many mutants ended how (`killed`, `timeout`, `caught by type check`, …)."""

    survivors: frozenset[Survivor]
    counts: Mapping[str, Mapping[str, int]]


def results(mutmut: str, asked: str) -> Results:
    """The results for a module or package of `agent`, by its dotted name; `mutmut` is the program."""
    survivors = set()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in _RESULT.finditer(_said(mutmut, "results", "--all", "true")):
        dotted, owner, name, _, status = result.groups()
        if not f"{dotted}.".startswith(f"{asked}."):
            continue
        module = dotted.replace(".", "/") + ".py"
        if status in _UNNOTICED:
            difference = _said(mutmut, "show", result[0].strip().rpartition(": ")[0])
            if is_wording(difference):
                status = "only wording"
            else:
                survivors.add(Survivor(module, f"{owner}.{name}" if owner else name, *change(difference)))
        counts[module][status] += 1
    return Results(frozenset(survivors), counts)


def is_wording(difference: str) -> bool:
    """Whether a unified difference does no more to one sentence than mutmut does to any text: other letters, the same
    words."""
    old, new = (_SENTENCE.findall(side) for side in _sides(difference))
    differing = [(before, after) for before, after in zip(old, new, strict=False) if before != after]
    if len(old) != len(new) or len(differing) != 1:
        return False
    [(before, after)] = differing
    return after in (f"XX{before}XX", before.upper(), before.lower())


def _sides(difference: str) -> tuple[str, str]:
    lines = [line for line in difference.splitlines() if not line.startswith(("--- ", "+++ "))]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return old, new


def change(difference: str) -> tuple[str, str]:
    """What a unified difference takes away and what it puts there, as one line each with a little of what is around."""
    old, new = _sides(difference)
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    after = 0
    while after < min(len(old), len(new)) - same and old[-1 - after] == new[-1 - after]:
        after += 1
    begin = old.rfind(" ", 0, max(0, same - _AROUND)) + 1
    kept = old[len(old) - after :]
    cut = len(kept) - len(kept[:_AROUND] + kept[_AROUND:].partition(" ")[0])
    return old[begin : len(old) - cut], new[begin : len(new) - cut]


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
