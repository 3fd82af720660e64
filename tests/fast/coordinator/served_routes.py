"""What a coordinator serves. Out: method and path of every route, as its own start puts them together."""

import re
from collections.abc import Sequence
from typing import cast

from prometheus_client import CollectorRegistry

from coordinator.model.notices import HookState
from coordinator.opscenter.app import routes
from coordinator.opscenter.context import Api
from coordinator.opscenter.measures import Measures
from coordinator.opscenter.webhooks import Webhooks
from kit.http_description import Description
from kit.metrics import ProcessMetrics


async def _no_hooks() -> Sequence[HookState]:
    return ()


_OWN = [
    *Measures(cast(Api, None), ProcessMetrics("coordinator", "0"), "0").routes(),
    *Webhooks(_no_hooks, CollectorRegistry()).routes(),
    *Description("coordinator.opscenter").routes("GET", "HEAD"),
]
SERVED = [(method, re.sub(r":[^}]*}", "}", path)) for method, path, _ in (*routes(cast(Api, None)), *_OWN)]
"""The grammar of a part of a path left out."""
