"""SCRIPT: runs one script of the agent's script directory for a backup. In: ScriptArguments; out, ScriptResult.

It is begun once. Found begun when the agent starts it ends `interrupted`: whether it was done, or goes on as somebody
else's child, nobody knows, and what it does when it runs twice neither.
"""

import os
import pwd
from collections.abc import Callable, Sequence

from agent.cassandra.errors import SnapshotMissing
from agent.cassandra.protocol import Snapshots
from agent.jobs.scripts.directory import opened_script
from agent.jobs.scripts.errors import ScriptFailed, ScriptTooSlow
from agent.jobs.scripts.process import run_script
from agent.jobs.scripts.words import in_words, last_line
from agent.model.job import JobContext, Outcome
from agent.model.snapshot import SnapshotTable
from agent.wire.commands import ScriptArguments
from agent.wire.results import ScriptResult

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ScriptJob:
    """The command `script`. `directory`: where scripts are, "" = none may run; `seconds`: how long one may take;
    `redact`: takes the agent's secrets out of a text."""

    def __init__(self, snapshots: Snapshots, directory: str, seconds: float, redact: Callable[[str], str]) -> None:
        self._snapshots = snapshots
        self._directory = directory
        self._seconds = seconds
        self._redact = redact

    async def run(self, context: JobContext) -> Outcome:
        """Raises ScriptsNotConfigured, ScriptNotFound, ScriptRefused, ScriptFailed, ScriptTooSlow, SnapshotMissing, and
        what listing a snapshot raises."""
        asked: ScriptArguments = context.arguments
        with opened_script(self._directory, asked.name) as script:
            tables = await self._listed(asked)
            lines = None if tables is None else (file.path for table in tables for file in table.files)
            await context.stages.enter("running the script")
            try:
                ran = await run_script(script, _environment(asked), lines, self._seconds)
            except OSError as error:
                why = f"the script {asked.name} could not be started: {error.strerror}"
                raise ScriptFailed(why, script=asked.name, when=asked.when, exit=None, output="") from None
        output = in_words(ran.said, self._redact)
        if ran.exit_code is None:
            raise ScriptTooSlow(
                f"the script {asked.name} did not end within {self._seconds:g} s{last_line(output)}",
                script=asked.name,
                when=asked.when,
                seconds=self._seconds,
                output=output,
            )
        if ran.exit_code != 0:
            how = f"ended with {ran.exit_code}" if ran.exit_code > 0 else f"was ended by signal {-ran.exit_code}"
            raise ScriptFailed(
                f"the script {asked.name} {how}{last_line(output)}",
                script=asked.name,
                when=asked.when,
                exit=ran.exit_code,
                output=output,
            )
        return Outcome(ScriptResult(asked.name, sum(len(table.files) for table in tables or ()), output))

    async def _listed(self, asked: ScriptArguments) -> Sequence[SnapshotTable] | None:
        """What a script after the snapshot is told."""
        if asked.when == "pre":
            return None
        if await self._snapshots.info(asked.tag) is None:
            raise SnapshotMissing(f"the agent has no snapshot {asked.tag}", tag=asked.tag)
        return await self._snapshots.inventory(asked.tag)


def _environment(asked: ScriptArguments) -> dict[str, str]:
    """All that a script is told beside its stdin; nothing of the agent's own environment."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        home = "/"
    return {
        "PATH": _PATH,
        "HOME": home,
        "LANG": "C.UTF-8",
        "HELENUS_TAG": asked.tag,
        "HELENUS_WHEN": asked.when,
    }
