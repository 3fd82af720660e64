"""/v1/node: who the agent is, and how its node is."""

import hashlib

import msgspec
from aiohttp import web

from agent.http.bodies import flag, json_response, query_of
from agent.http.services import services_of
from agent.wire.node import NodeReport
from kit.errors import InvalidInput

SHAPE_BYTES = 16
LONGEST_SHAPE = 64


async def get(request: web.Request) -> web.Response:
    """Identity, versions, tokens, data directories, keyspaces and ring; with `members=true` also who is up, with
    `truncations=true` when tables were truncated. With `known` the ring and the keyspaces only if they aren't those of
    that shape."""
    query = query_of(request, ("members", "truncations", "known"))
    members, truncations = flag(query, "members"), flag(query, "truncations")
    known = query.get("known")
    if known is not None and not 1 <= len(known) <= LONGEST_SHAPE:
        raise InvalidInput(f"known must be the shape of an earlier report, 1 to {LONGEST_SHAPE} long", field="known")
    report = await services_of(request).node.report(members=members, truncations=truncations)
    return json_response(_unless_known(report, known))


def _unless_known(report: NodeReport, known: str | None) -> NodeReport:
    described = msgspec.json.encode([report.ring, report.keyspaces])
    shape = hashlib.blake2b(described, digest_size=SHAPE_BYTES).hexdigest()
    if shape != known:
        return msgspec.structs.replace(report, shape=shape)
    return msgspec.structs.replace(report, shape=shape, as_known=True, ring=[], keyspaces={})
