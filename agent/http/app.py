"""The agent's HTTP application. In: the services. Out: an aiohttp application, ready to be served."""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from agent.http import (
    archiving,
    backups,
    commands,
    destinations,
    events,
    health,
    jobs,
    metrics,
    node,
    throttle,
)
from agent.http.bodies import plain_json_only
from agent.http.errors import error_response, errors_as_json
from agent.http.readers import READERS, Readers, send_readers_away
from agent.http.services import SERVICES, AgentServices
from kit.http_description import Description
from kit.http_errors import ERROR_FORM
from kit.http_limits import body_limits
from kit.http_server import PLAIN_BODIES

MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30.0


def make_app(
    services: AgentServices,
    *,
    authentication: Sequence[Middleware] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    body_seconds: float = BODY_SECONDS,
) -> web.Application:
    """The application. `authentication`: middlewares that raise for those who may not ask (kit.http_origin,
    kit.http_auth); a body is read only after them, at most `max_body_bytes` (a plan, a record or a job's
    document `backups.MAX_PLAN_BYTES`) and within `body_seconds`."""
    large = ("/v1/backups/{tag}/plan", "/v1/backups/{tag}/record", "/v1/jobs/{job}")
    larger = dict.fromkeys(large, backups.MAX_PLAN_BYTES)
    app = web.Application(
        middlewares=[errors_as_json, *authentication, plain_json_only, body_limits(body_seconds, larger)],
        client_max_size=max_body_bytes,
    )
    app[SERVICES] = services
    app[ERROR_FORM] = error_response
    app[PLAIN_BODIES] = True
    app[READERS] = Readers()
    app.on_shutdown.append(send_readers_away)
    app.add_routes(
        [
            web.get("/v1/node", node.get),
            web.get("/v1/destinations", destinations.list_all),
            web.get("/v1/destinations/{destination}", destinations.get),
            web.put("/v1/destinations/{destination}", destinations.put),
            web.delete("/v1/destinations/{destination}", destinations.delete),
            web.post("/v1/destinations/{destination}/check", destinations.check),
            web.post("/v1/destinations/{destination}/keys", destinations.change_keys),
            web.post("/v1/commands", commands.post),
            web.get("/v1/commands", commands.list_all),
            web.get("/v1/commands/{command}", commands.get),
            web.patch("/v1/commands/{command}", commands.patch),
            web.delete("/v1/commands/{command}", commands.cancel),
            web.get("/v1/events", events.get),
            web.get("/v1/backups", backups.list_all),
            web.get("/v1/backups/{tag}", backups.get),
            web.put("/v1/backups/{tag}/plan", backups.put_plan),
            web.put("/v1/backups/{tag}/record", backups.put_record),
            web.get("/v1/jobs", jobs.list_all),
            web.get("/v1/jobs/{job}", jobs.get),
            web.put("/v1/jobs/{job}", jobs.put),
            web.get("/v1/archiving", archiving.get),
            web.get("/v1/throttle", throttle.get),
            web.patch("/v1/throttle", throttle.patch),
            web.get("/health", health.get),
            web.get("/metrics", metrics.get),
            *(web.route(*served) for served in Description("agent.http").routes()),
        ]
    )
    return app
