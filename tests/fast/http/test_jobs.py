"""/v1/jobs: a job that stops nodes is found again by whatever coordinator asks, every exchange checked against the
description."""

from pathlib import Path
from typing import Any

from agent.jobs.job_documents import MOST_ENDED, JobDocuments
from agent.wire.point_in_time import JobDocument
from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import Served, served


def document(fence: int, revision: int, **more: Any) -> dict[str, Any]:
    told = {"phase": "stop", "ended": False, "document": {"nodes": {"a": 1}}}
    return {"id": "job1", "fence": fence, "revision": revision, **told, **more}


async def put(agent: Served, body: dict[str, Any], job: str = "job1") -> tuple[int, Any]:
    answer = await agent.client.put(f"/v1/jobs/{job}", body)
    return answer.status, answer.json


async def test_the_newest_document_counts_whoever_brings_it(tmp_path: Path) -> None:
    """Promise: the higher fence wins, then the higher revision; what is older, or another of the same age, is refused
    with what is here; the same again is fine."""
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.get("/v1/jobs")).json == []
        assert await put(agent, document(1, 5)) == (200, document(1, 5))
        assert await put(agent, document(1, 5)) == (200, document(1, 5))
        for old in (document(1, 4), document(0, 9), document(1, 5, phase="start")):
            status, error = await put(agent, old)
            assert (status, error["code"]) == (409, "job_document_old")
            assert error["fields"] == {"fence": 1, "revision": 5}
        newer = document(2, 1, phase="start")
        assert await put(agent, newer) == (200, newer)
        assert (await agent.client.get("/v1/jobs/job1")).json == newer
        assert (await agent.client.get("/v1/jobs")).json == [newer]
        assert (await agent.client.get("/v1/jobs?running=true")).json == [newer]
        ended = document(2, 2, ended=True)
        assert await put(agent, ended) == (200, ended)
        assert (await agent.client.get("/v1/jobs")).json == [ended]
        assert (await agent.client.get("/v1/jobs?running=true")).json == []


async def test_a_document_outlives_the_agent(tmp_path: Path) -> None:
    """Promise: what was answered is durable."""
    async with served(tmp_path, everything(quick)) as agent:
        await put(agent, document(3, 1))
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.get("/v1/jobs/job1")).json == document(3, 1)


async def test_what_is_not_there_and_what_is_of_another_job_is_refused(tmp_path: Path) -> None:
    """Promise: an unknown job is told as such, and a document is only kept under its own name."""
    async with served(tmp_path, everything(quick)) as agent:
        answer = await agent.client.get("/v1/jobs/job1")
        assert (answer.status, answer.json["code"]) == (404, "unknown_job")
        status, error = await put(agent, document(1, 1), job="job2")
        assert (status, error["fields"]["field"]) == (400, "id")
        assert (await agent.client.get("/v1/jobs")).json == []


async def test_only_documents_of_jobs_that_ended_go(tmp_path: Path) -> None:
    """Promise: of those the youngest stay; one that somebody must go on with stays for ever, and one that a disk has
    damaged keeps no other from being told."""
    documents = JobDocuments(tmp_path)
    await documents.put(JobDocument("open", 1, 1, "stop", False, {}))
    for number in range(MOST_ENDED + 5):
        await documents.put(JobDocument(f"ended-{number}", 1, 1, "done", True, {}))
    (tmp_path / "job-documents" / "torn.json").write_text("{")
    kept = {one.id for one in await documents.all()}
    assert kept == {"open", *(f"ended-{number}" for number in range(5, MOST_ENDED + 5))}
