"""/v1/commands: what the agent is told to do, and how far it is."""

from aiohttp import web

from agent.http.bodies import flag, json_response, path_name, query_of, read_json, whole_number
from agent.http.services import services_of
from agent.wire.commands import CommandView, PatchCommand, PostCommand, State
from agent.wire.names import check_name
from kit.errors import InvalidInput

MOST_LISTED = 1_000


async def post(request: web.Request) -> web.Response:
    """Accept a command (202), or find it accepted before (200 once it has ended)."""
    query_of(request, ())
    posted = await services_of(request).commands.post(await read_json(request, PostCommand))
    return _view(posted.view)


async def list_all(request: web.Request) -> web.Response:
    """The newest first, of one job or in some states only."""
    query = query_of(request, ("job", "state", "limit"))
    job = query.get("job")
    if job is not None:
        check_name("job", job)
    states = []
    for text in query.getall("state", []):
        if text not in set(State):
            raise InvalidInput(
                f"there is no state {text[:80]!r}", field="state", allowed=[state.value for state in State]
            )
        states.append(State(text))
    limit = whole_number(query, "limit", MOST_LISTED, MOST_LISTED)
    return json_response(await services_of(request).commands.views(job, states, limit))


async def get(request: web.Request) -> web.Response:
    """One command with its counts."""
    query_of(request, ())
    return json_response(await services_of(request).commands.view(path_name(request, "command", "command")))


async def patch(request: web.Request) -> web.Response:
    """Let another coordinator hear of it."""
    query_of(request, ())
    command = path_name(request, "command", "command")
    body = await read_json(request, PatchCommand)
    check_name("coordinator", body.report_to, "report_to")
    return json_response(await services_of(request).commands.patch(command, body))


async def cancel(request: web.Request) -> web.Response:
    """End it; 202 while that takes longer than the agent lets a request wait."""
    query = query_of(request, ("force",))
    command = path_name(request, "command", "command")
    return _view(await services_of(request).commands.cancel(command, force=flag(query, "force")))


def _view(view: CommandView) -> web.Response:
    return json_response(view, 200 if view.state.terminal else 202)
