"""/v1/node: who the agent is, and how its node is."""

from aiohttp import web

from agent.http.bodies import flag, json_response, query_of
from agent.http.services import services_of


async def get(request: web.Request) -> web.Response:
    """Identity, versions, tokens, data directories, keyspaces and ring; with `members=true` also who is up."""
    members = flag(query_of(request, ("members",)), "members")
    return json_response(await services_of(request).node.report(members=members))
