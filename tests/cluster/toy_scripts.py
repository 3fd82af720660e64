"""Scripts of a toy node: each run is noted on it."""

from agent.model.job import Job, JobContext
from agent.wire.commands import LANES, Kind, ScriptArguments
from agent.wire.results import ScriptResult
from tests.cluster.toy_cluster import ToyNode, watched


def script_jobs(node: ToyNode) -> dict[Kind, tuple[str, Job]]:
    """Kind → (lane, job)."""

    def script(_: JobContext, asked: ScriptArguments) -> ScriptResult:
        assert (asked.tag in node.snapshots) == (asked.when == "post"), asked
        node.scripts.append((asked.when, asked.tag))
        return ScriptResult(asked.name, 3 if asked.when == "post" else 0, f"{asked.name} is through")

    return {Kind.SCRIPT: (LANES[Kind.SCRIPT], watched(node, Kind.SCRIPT, script))}
