"""/metrics: the agent's numbers for Prometheus."""

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from agent.http.services import services_of


async def get(request: web.Request) -> web.Response:
    """All metrics in Prometheus' text form."""
    text = generate_latest(services_of(request).metrics)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
