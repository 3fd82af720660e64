"""/v1/node: who the agent is, and how its node is."""

from aiohttp import web

from agent.http.bodies import flag, json_response, query_of
from agent.http.services import services_of


async def get(request: web.Request) -> web.Response:
    """Identity, versions, tokens, data directories, keyspaces and ring; with `members=true` also who is up, with
    `truncations=true` when tables were truncated."""
    query = query_of(request, ("members", "truncations"))
    members, truncations = flag(query, "members"), flag(query, "truncations")
    return json_response(await services_of(request).node.report(members=members, truncations=truncations))
