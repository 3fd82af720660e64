"""/openapi.yaml: the protocol's description."""

from importlib import resources

from aiohttp import web


def description() -> bytes:
    """The file beside this module."""
    return resources.files("agent.http").joinpath("openapi.yaml").read_bytes()


async def get(request: web.Request) -> web.Response:
    """As it is written."""
    return web.Response(body=description(), content_type="application/yaml")
