"""/v1/jobs: the documents of jobs that stop nodes, kept here for the coordinator that goes on with them."""

from aiohttp import web

from agent.http.bodies import flag, json_response, path_name, query_of, read_json
from agent.http.services import services_of
from agent.wire.point_in_time import JobDocument
from kit.errors import InvalidInput


async def list_all(request: web.Request) -> web.Response:
    """Every document; `running`: only those of jobs that have not ended."""
    running = flag(query_of(request, ("running",)), "running")
    documents = await services_of(request).jobs.all()
    return json_response([each for each in documents if not (running and each.ended)])


async def get(request: web.Request) -> web.Response:
    """The newest document of one job."""
    query_of(request, ())
    return json_response(await services_of(request).jobs.get(path_name(request, "job", "job")))


async def put(request: web.Request) -> web.Response:
    """Keep a newer document."""
    query_of(request, ())
    job = path_name(request, "job", "job")
    document = await read_json(request, JobDocument)
    if document.id != job:
        raise InvalidInput("the document is of another job than the path", field="id")
    return json_response(await services_of(request).jobs.put(document))
