"""The documents of jobs that stop nodes on a toy agent: the real ones, on a disk that may be full."""

from agent.jobs.job_documents import JobDocuments
from agent.wire.point_in_time import JobDocument
from kit.errors import HelenusError


class DiskIsFull(HelenusError):
    code = "disk_full"
    status = 507


class ToyDocuments(JobDocuments):
    """`refuses`: there is no room for any."""

    refuses = False

    async def put(self, document: JobDocument) -> JobDocument:
        if self.refuses:
            raise DiskIsFull("no room")
        return await super().put(document)
