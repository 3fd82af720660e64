"""Takes files out of Cassandra's sight and puts them back. In: live directories and their staging roots. Out: the same
files, each in exactly one of two places.

    <root>/aside/<below>/       what was there before: the user's own. Only put back from here, or removed when a
                                person says that the job is to be cleaned
    <root>/undone/<n>/<below>/  what a restore that was undone had put there, or Cassandra had written since

What makes it safe:

- Nothing is deleted, nothing is overwritten, nothing is copied: a file moves by a rename on its own volume, which
  happens or does not, whenever the agent or the machine ends. A target that is there already refuses it.
- The list of what is set aside is durable before the first rename (the caller's notes) and never changes. So a file in
  a live directory is one that was there before exactly if it is on the list and not in `aside`; whatever else is there
  came later. That can be seen at any moment from the files alone: going on and going back both need no further note.
- Cassandra must be down, which the caller looks to. Directories stay as they are, with owner and mode.
"""

import filecmp
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.errors import FilesAppeared, FilesVanished, StagingRefused
from agent.cassandra.live_directories import LiveDirectory
from agent.cassandra.staging import StagingRoot, is_made, make_directory, staging_error
from agent.plan.segment_names import parse_segment
from kit.atomic_files import sync_directory

_ASIDE, UNDONE = "aside", "undone"


class Aside(msgspec.Struct, frozen=True):
    """A directory, with the names of the files that are set aside from it."""

    directory: LiveDirectory
    names: tuple[str, ...]

    @property
    def target(self) -> Path:
        """Where they go."""
        return aside_of(self.directory.root, *self.directory.below)

    def kept(self) -> set[str]:
        """Which of them are set aside now."""
        try:
            return set(os.listdir(self.target)).intersection(self.names)
        except FileNotFoundError:
            return set()


def aside_of(root: StagingRoot, *below: str) -> Path:
    """Where what is called so is set aside."""
    return root.path.joinpath(_ASIDE, *below)


def planned(directories: Iterable[LiveDirectory]) -> list[Aside]:
    """All that is in the directories now. Raises `StagingRefused` where it could not be renamed: before anything is."""
    found = [Aside(directory, tuple(directory.names())) for directory in directories]
    for one in found:
        if one.names and not os.access(one.directory.path, os.W_OK | os.X_OK):
            raise StagingRefused(
                f"the agent's user may not rename files in {one.directory.path}",
                path=one.directory.path,
                reason="not_writable",
            )
    return found


def refuse_strangers(
    plan: Sequence[Aside], directories: Iterable[LiveDirectory], placed: Mapping[str, Collection[str]]
) -> None:
    """Raises `FilesAppeared` when there is anything in the directories that neither the plan names nor `placed`
    (directory → names that an earlier run may have placed there): Cassandra was started, or somebody copied files,
    since the plan was made."""
    new = [
        f"{live.path}/{name}"
        for live, names in strangers(plan, directories)
        for name in names
        if name not in placed.get(live.path, ())
    ]
    if new:
        raise FilesAppeared(
            f"files came to the tables, hints or commit log while they were set aside: {', '.join(new[:5])}",
            files=new[:100],
        )


def strangers(plan: Sequence[Aside], directories: Iterable[LiveDirectory]) -> Iterator[tuple[LiveDirectory, list[str]]]:
    """What is in the directories and was not when the plan was made."""
    by_path = {one.directory.path: one for one in plan}
    for live in directories:
        one = by_path.get(live.path)
        own = set() if one is None else set(one.names) - one.kept()
        new = [name for name in live.names() if name not in own]
        if new:
            yield live, new


def set_aside(plan: Iterable[Aside], placed: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Set all of it aside, durably; what an earlier run did is passed over, also where it has `placed` (as for
    `refuse_strangers`) a file of the same name since. Directory → bytes of what was set aside from it. Raises
    `FilesVanished`, `FilesAppeared`, `StagingRefused`, `NotEnoughSpace`."""
    done: dict[str, int] = {}
    for one in plan:
        if not one.names:
            continue
        target = make_directory(one.directory.root, (_ASIDE, *one.directory.below))
        replaced = one.kept().intersection(placed.get(one.directory.path, ()))
        for name in one.names:
            if name not in replaced:
                _move(Path(one.directory.path, name), target / name)
        sync_directory(target)
        sync_directory(Path(one.directory.path))
        done[one.directory.path] = sum((target / name).lstat().st_size for name in one.names)
    return done


def put_back(plan: Iterable[Aside]) -> dict[str, int]:
    """Put it all back, durably, whatever part of it is set aside. Directory → files that were put back. Nothing else
    may be in the place of one of them: see `move_strangers`. Raises as `set_aside`."""
    done: dict[str, int] = {}
    for one in plan:
        kept = one.kept()
        for name in one.names:
            _move(one.target / name, Path(one.directory.path, name))
        if kept:
            sync_directory(Path(one.directory.path))
            sync_directory(one.target)
            done[one.directory.path] = len(kept)
    return done


def move_strangers(found: Iterable[tuple[LiveDirectory, Sequence[str]]]) -> dict[str, int]:
    """Move what came later out of Cassandra's sight, durably: directory → files. Raises as `set_aside`."""
    done: dict[str, int] = {}
    for live, names in found:
        number = 1
        while _taken(live, number, names):
            number += 1
        target = make_directory(live.root, (UNDONE, str(number), *live.below))
        for name in names:
            _move(Path(live.path, name), target / name)
        sync_directory(target)
        sync_directory(Path(live.path))
        done[live.path] = len(names)
    return done


def left_by_undo(root: StagingRoot) -> int:
    """Bytes of what was moved out and nobody else may have: what Cassandra itself wrote to the root's tables. What the
    restore had put there or lent is removed, for it stands in the root by another name too (a segment, where links are
    refused, with the same name and bytes: of an SSTable's small files that says nothing), and `undone` with it when
    nothing is left. A root without our mark is left alone."""
    undone = root.path / UNDONE
    if root.path.is_symlink() or not is_made(root) or undone.is_symlink():
        return 0
    ours: dict[str, list[Path]] = {}
    for path in _files_below(root.path):
        if undone not in path.parents:
            ours.setdefault(path.name, []).append(path)
    kept = 0
    for path in list(_files_below(undone)):
        if any(_same(path, one) for one in ours.get(path.name, ())):
            path.unlink()
        else:
            kept += path.lstat().st_size
    if undone.is_dir() and next(_files_below(undone), None) is None:
        shutil.rmtree(undone)
    return kept


def _files_below(path: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(path):
        yield from (Path(directory, name) for name in names)


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return False
    return one.samefile(other) or (parse_segment(one.name) is not None and filecmp.cmp(one, other, shallow=False))


def _taken(live: LiveDirectory, number: int, names: Sequence[str]) -> bool:
    there = live.root.path.joinpath(UNDONE, str(number), *live.below)
    return any(os.path.lexists(there / name) for name in names)


def _move(source: Path, target: Path) -> None:
    """Rename, unless an earlier run did; never onto something else."""
    there, left = os.path.lexists(target), os.path.lexists(source)
    if there and left:
        raise FilesAppeared(f"{source} and {target} are both there: one would replace the other", files=[str(source)])
    if there:
        return
    if not left:
        raise FilesVanished(f"neither {source} nor {target} is there any more", files=[str(source)])
    try:
        os.rename(source, target)
    except OSError as error:
        raise staging_error(error, f"{source} can't be renamed to {target}", target) from None
