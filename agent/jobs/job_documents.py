"""Documents of jobs that stop nodes: what a coordinator, whichever, must know to go on with one. In: a document. Out:
the newest, durable in `<state>/job-documents/`, also while Cassandra is down.

Newer is what has the higher (fence, revision): a coordinator that was overtaken can't put the job back.
"""

import asyncio
from pathlib import Path

import msgspec
import structlog

from agent.wire.names import check_name
from agent.wire.point_in_time import JobDocument
from kit.atomic_files import make_directory, remove_durably, write_atomically
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

MOST_ENDED = 100
"""So many documents of jobs that ended are kept, the youngest."""


class UnknownJob(HelenusError):
    """The agent has no document of this job."""

    code = "unknown_job"
    status = 404
    todo = "Look at GET /v1/jobs for the jobs that the agent has documents of; ask the other agents too."


class JobDocumentOld(HelenusError):
    """The agent has a newer document of the job; `fields`: fence, revision (of the newer one)."""

    code = "job_document_old"
    status = 409
    todo = "Another coordinator goes on with the job: read GET /v1/jobs/{job} and stop leading it."


class JobDocuments:
    """See the module. One file for each job, named by its id."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "job-documents"
        self._one_at_a_time = asyncio.Lock()

    async def put(self, document: JobDocument) -> JobDocument:
        """Keep it, durably, and return it; the same again is fine. Raises `JobDocumentOld`."""
        check_name("job", document.id)
        async with self._one_at_a_time:
            kept = await self._find(document.id)
            if kept is not None and kept != document:
                have, comes = (kept.fence, kept.revision), (document.fence, document.revision)
                if comes <= have:
                    raise JobDocumentOld(
                        f"of the job {document.id} the document {have} is here, and {comes} is not newer",
                        fence=kept.fence,
                        revision=kept.revision,
                    )
            if kept != document:
                await asyncio.to_thread(self._write, document)
                if document.ended:
                    await asyncio.to_thread(self._prune)
        return document

    async def get(self, job: str) -> JobDocument:
        """The newest document of the job. Raises `UnknownJob`."""
        found = await self._find(check_name("job", job))
        if found is None:
            raise UnknownJob(f"there is no document of the job {job} here", job=job)
        return found

    async def all(self) -> list[JobDocument]:
        """Those of every job, also of those that ended; sorted by id."""
        return await asyncio.to_thread(lambda: [document for path in self._files() if (document := _read(path))])

    async def _find(self, job: str) -> JobDocument | None:
        return await asyncio.to_thread(_read, self._directory / f"{job}.json")

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.json"))

    def _write(self, document: JobDocument) -> None:
        make_directory(self._directory)
        write_atomically(self._directory / f"{document.id}.json", msgspec.json.encode(document))

    def _prune(self) -> None:
        ended = [path for path in self._files() if (document := _read(path)) and document.ended]
        for path in sorted(ended, key=lambda path: path.stat().st_mtime_ns)[:-MOST_ENDED]:
            remove_durably(path)


def _read(path: Path) -> JobDocument | None:
    """The document; None when there is none, or (which is logged) none that can be read: others have it too."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobDocument)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.warning("a job's document can't be read", file=str(path), reason=str(error))
        return None
