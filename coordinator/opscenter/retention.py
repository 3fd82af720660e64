"""Retention as people look at it (ours). In: GET /{cluster}/retention, POST /{cluster}/retention/run. Out: the rules
and how their runs went; what a run would delete, and why."""

from typing import Any

import msgspec
from aiohttp import web

from agent.wire.destinations import ON_SERVER
from coordinator.model.retention import EVERY_ID, Verdict, ruled_places
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.rules import shown_rule


class Retention:
    """Rules are given with destinations and runs; here they are seen, tried and carried out at once."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def rules(self, request: web.Request) -> web.Response:
        """GET /{cluster}/retention"""
        cluster = self._api.cluster(request)
        rules = await self._api.store.retention.of(cluster)
        notes = await self._api.retention.notes(cluster)
        places = ruled_places(rules)
        return answer(
            {
                "rules": [
                    {
                        "destination": kept.destination,
                        "id": None if kept.backup_id == EVERY_ID else kept.backup_id,
                        **shown_rule(kept.rule),
                    }
                    for kept in rules
                ],
                "runs": {
                    place: {
                        "begun": int(note.begun) or None,
                        "ended": int(note.ended) or None,
                        "running": note.asked,
                        "deleted": note.deleted,
                        "error": note.error,
                    }
                    for place, note in notes.items()
                    if place in places
                },
            }
        )

    async def run(self, request: web.Request) -> web.Response:
        """POST /{cluster}/retention/run: `destination` (none = every place that has a rule), `dry_run`."""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, ("destination", "dry_run"))
        dry = quirks.as_bool(body.get("dry_run"), "dry_run")
        places = ruled_places(await self._api.store.retention.of(cluster))
        if body.get("destination") is not None:
            chosen = await self._api.place(cluster, body["destination"]) or ON_SERVER
            if chosen not in places:
                raise quirks.refuse(
                    "destination", f"has no rule of retention by which anything goes: {quirks.shown(chosen)}"
                )
            places = [chosen]
        if dry:
            return answer({place: [_shown(one) for one in await self._judged(cluster, place)] for place in places})
        for place in places:
            await self._api.retention.ask(cluster, place)
        return answer({"destinations": places})

    async def _judged(self, cluster: str, place: str) -> list[Verdict]:
        return await self._api.retention.preview(cluster, place)


def _shown(verdict: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(verdict)
    return {"tag": told.pop("tag"), "id": told.pop("backup_id"), **told}
