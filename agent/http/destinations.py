"""/v1/destinations: where backups go, as coordinators put it here."""

from aiohttp import web

from agent.http.bodies import json_response, path_name, query_of, read_json
from agent.http.services import services_of
from agent.wire.destinations import ChangeKeys, CheckDestination, PutDestination
from agent.wire.names import check_name
from kit.errors import InvalidInput

MAX_CLUSTER_NAME = 512


async def list_all(request: web.Request) -> web.Response:
    """All destinations, secrets masked."""
    query_of(request, ())
    return json_response(services_of(request).destinations.views())


async def get(request: web.Request) -> web.Response:
    """One destination, secrets masked."""
    query_of(request, ())
    return json_response(services_of(request).destinations.view(path_name(request, "destination", "destination")))


async def put(request: web.Request) -> web.Response:
    """Keep settings, durably, if their revision is newer."""
    query_of(request, ())
    destination = path_name(request, "destination", "destination")
    body = await read_json(request, PutDestination)
    return json_response(await services_of(request).destinations.put(destination, body))


async def delete(request: web.Request) -> web.Response:
    """Forget settings, never data."""
    query_of(request, ())
    await services_of(request).destinations.delete(path_name(request, "destination", "destination"))
    return web.Response(status=204)


async def check(request: web.Request) -> web.Response:
    """Try the real store, and make or attach its repository when asked."""
    query_of(request, ())
    destination = path_name(request, "destination", "destination")
    body = await read_json(request, CheckDestination) if request.body_exists else CheckDestination()
    for field, name in (("repository_id", body.repository_id), ("cluster_id", body.cluster_id)):
        if name is not None:
            check_name(field, name, field)
    for field, nonce in (("nonce_put", body.nonce_put), ("nonce_find", body.nonce_find)):
        if nonce is not None:
            check_name("nonce", nonce, field)
    if body.cluster_name is not None and not 0 < len(body.cluster_name) <= MAX_CLUSTER_NAME:
        raise InvalidInput(f"cluster_name has 1 to {MAX_CLUSTER_NAME} characters", field="cluster_name")
    return json_response(await services_of(request).checks.check(destination, body))


async def change_keys(request: web.Request) -> web.Response:
    """Add, rotate or remove key slots of an encrypted repository."""
    query_of(request, ())
    destination = path_name(request, "destination", "destination")
    return json_response(await services_of(request).keys.change(destination, await read_json(request, ChangeKeys)))
