"""Each stage that a job can enter has a test that kills the agent there: found in the source, so that a new stage
without a kill is found too."""

import ast
import fnmatch
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import jobs
from agent.wire.commands import FENCED, Kind
from tests import real
from tests.cluster import moments

DIRECTORY = Path(jobs.__file__).parent
AGENT = DIRECTORY.parent
REAL = Path(real.__file__).parent
KIND_OF = {
    "delivery": "upload",
    "storing": "upload",
    "import_held": "import",
    "other_imports": "fetch",
    "trim": "trim_logs",
    "quiesce": "pit_quiesce",
    "stop": "pit_stop",
    "start": "pit_start",
    "place": "pit_place",
    "verify": "pit_verify",
    "undo": "pit_undo",
    "open": "pit_open",
}
"""Which command's kill counts for a module's stages, where it isn't called as the module is."""
PASSED_ON = frozenset({"change", "_change"})
"""Functions that enter the stage that they are given as their third argument."""


class Unreadable(AssertionError):
    """The source names a stage in a way that this test does not understand: teach it."""


class Source:
    """What one module of the jobs may enter."""

    def __init__(self, path: Path) -> None:
        of_point = f"pit_{path.stem}"
        self.name = of_point if path.parent.name == "point_in_time" and of_point in set(Kind) else path.stem
        self._tree = ast.parse(path.read_text(encoding="utf-8"))
        self._constants = {
            node.targets[0].id: node.value
            for node in self._tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    def stages(self) -> set[str]:
        """Patterns, with `*` for what is only known when it runs."""
        found = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in PASSED_ON:
                for label in self._labels(node):
                    found |= set(self._patterns(label, node))
        return found

    def _labels(self, function: ast.AST) -> Iterator[ast.expr]:
        """The expressions that are entered as a stage."""
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                of = call.func.value
                if call.func.attr == "enter" and isinstance(of, ast.Attribute) and of.attr == "stages":
                    yield call.args[0]
                elif call.func.attr in PASSED_ON and len(call.args) == 4:
                    yield call.args[2]

    def _patterns(self, label: ast.expr, function: ast.AST) -> Iterator[str]:
        match label:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=values):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in values)
            case ast.Name(id=name) if name in self._constants:
                yield from self._patterns(self._constants[name], function)
            case ast.Name(id=name) if imported := self._imported(name):
                yield from imported
            case ast.Name(id=name) if found := self._generator(name, function):
                source, generator = found
                for node in ast.walk(generator):
                    if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                        yield from source._patterns(node.value.elts[0], generator)
            case _:
                raise Unreadable(f"{self.name}.py:{label.lineno}: {ast.unparse(label)}")

    def _imported(self, name: str) -> list[str]:
        """A constant of another module of the jobs."""
        for node in self._tree.body:
            if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
                other = Source(AGENT.parent / f"{str(node.module).replace('.', '/')}.py")
                return list(other._patterns(other._constants[name], other._tree))
        return []

    def _generator(self, name: str, function: ast.AST) -> "tuple[Source, ast.FunctionDef] | None":
        """The function, of this module or an imported one, of whose pairs `for <name>, … in <function>(…)` takes the
        first."""
        for loop in ast.walk(function):
            match loop:
                case ast.For(target=ast.Tuple(elts=[ast.Name(id=first), *_]), iter=ast.Call(func=ast.Name(id=called))):
                    if first == name:
                        return self._function(called)
        return None

    def _function(self, name: str) -> "tuple[Source, ast.FunctionDef] | None":
        for node in self._tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return self, node
            if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
                other = Source(AGENT.parent / f"{str(node.module).replace('.', '/')}.py")
                return other._function(name)
        return None


SOURCES = [source for path in sorted(DIRECTORY.rglob("*.py")) if (source := Source(path)).stages()]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_agent_is_killed_at_each_stage_of(source: Source) -> None:
    """Promise: kill -9 at each stage once, exactly when the journal shows it."""
    kind = KIND_OF.get(source.name, source.name)
    assert kind in set(Kind), f"{source.name} enters stages: name the command in KIND_OF whose kills count for it"
    killed = {
        moment.removesuffix(":before").removeprefix(f"{kind}:")
        for moment in moments.ALL
        if moment.startswith(f"{kind}:")
    }
    unkilled = {stage for stage in source.stages() if not fnmatch.filter(killed, stage)}
    assert unkilled == set(), f"no test kills the agent there; add them to {moments.__name__}"


@pytest.mark.parametrize("kind", Kind)
def test_the_agent_is_killed_before_it_writes_the_end_of(kind: Kind) -> None:
    """Promise: all was done and nobody knows it; the next life finds out."""
    assert f"{kind}:success:before" in moments.ALL


@pytest.mark.parametrize("kind", sorted(set(Kind) - FENCED | {Kind.DROP_VIEWS}))
def test_the_agent_is_killed_when_it_has_accepted(kind: Kind) -> None:
    """Promise: accepted is durable, also when nobody heard the answer; of the fenced ones, which all end the same way
    then, once."""
    assert f"{kind}:accepted" in moments.ALL


def test_every_list_of_moments_is_lived_through() -> None:
    """Promise: what stands in a list is done by a test on a real node."""
    lists = {name for name, value in vars(moments).items() if name.isupper() and isinstance(value, tuple | dict)}
    used = set()
    for path in REAL.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == moments.__name__:
                used |= {alias.name for alias in node.names}
    assert lists - used == set()


def test_the_source_is_read_as_it_is_meant() -> None:
    """The scan finds constants, imported ones, texts with names in them, and what is passed on."""
    found = {source.name: source.stages() for source in SOURCES}
    assert found["delivery"] == {"opening", "storing", "published"}
    assert found["storing"] == {"publishing", "published"}
    assert found["upload"] == {"clearing"}
    assert found["truncate"] == {"truncating *.*"}
    assert found["schema"] == {"reading the backup", "dropping table *.*", "dropping type *.*", "making * *.*"}
    waiting = "waiting for batches that were cut"
    assert found["import_held"] == {"importing", "importing *.*, batch *", waiting}
    assert found["clean"] == {"cleaning", waiting}
