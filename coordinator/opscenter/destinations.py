"""Destinations. In: GET, POST, DELETE /{cluster}/backups/destinations[/{id}]. Out: attributes, secrets masked (but see
`show_secrets_to_admins` of the settings)."""

from typing import Any

from aiohttp import web

from agent.wire.destinations import S3Settings
from coordinator.model.access import Role
from coordinator.model.destinations import Destination, attributes_of
from coordinator.model.orders import DestinationOrder
from coordinator.model.retention import EVERY_ID
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.destination_settings import OPTIONS, conceal, read_settings, secrets_in
from coordinator.opscenter.errors import answer
from coordinator.opscenter.roles import who_asks
from coordinator.opscenter.rules import keep_rules, shown_rule, take_rule
from kit.errors import HelenusError


class Destinations:
    """Before a destination is added or changed, the agents try the real store; an error of theirs is the answer."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def all(self, request: web.Request) -> web.Response:
        """GET …/destinations"""
        cluster = self._api.cluster(request)
        found = await self._api.store.destinations.all(cluster)
        return answer({one.id: await self._attributes(one) | self._secrets_for(request, one) for one in found})

    async def one(self, request: web.Request) -> web.Response:
        """GET …/destinations/{id}"""
        named = await self._named(request)
        return answer(await self._attributes(named) | self._secrets_for(request, named))

    async def change(self, request: web.Request) -> web.Response:
        """POST …/destinations: add (no id), update (id), delete (id and delete_this). Without an id, delete_this means
        that the settings are forgotten after the first backup to it."""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        secrets = list(secrets_in(body))
        try:
            return await self._change(cluster, body)
        except HelenusError as error:
            conceal(error, secrets)
            raise

    async def _change(self, cluster: str, body: dict[str, Any]) -> web.Response:
        delete = quirks.as_bool(body.pop("delete_this", None), "delete_this")
        rule = take_rule(body)
        named = body.pop("id", None)
        if named is None:
            order = DestinationOrder("add", self._api.new_id(), read_settings(body, None), one_shot=delete)
        else:
            known = await self._api.destination(cluster, quirks.as_destination_id(named, "id"))
            if delete:
                quirks.allow_only(body, OPTIONS)
                order = DestinationOrder("delete", known.id)
            else:
                order = DestinationOrder("update", known.id, read_settings(body, known.settings), known.one_shot)
        change = await self._api.orchestrator.start_destination_change(cluster, order)
        attributes: dict[str, Any] = {}
        if order.settings is not None:
            self._api.keep_secret(order.settings)
            await keep_rules(self._api, cluster, EVERY_ID, {order.id: rule})
        if change.destination is not None:
            attributes = await self._attributes(change.destination)
        told = {"destination_id": {"id": order.id, **attributes}, "request_id": change.request_id}
        return answer({**told, "warnings": change.warnings} if change.warnings else told)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE …/destinations/{id}: forgets the settings; the backups there stay."""
        known = await self._named(request)
        order = DestinationOrder("delete", known.id)
        change = await self._api.orchestrator.start_destination_change(known.cluster, order)
        return answer(change.request_id)

    async def _named(self, request: web.Request) -> Destination:
        cluster = self._api.cluster(request)
        return await self._api.destination(cluster, quirks.as_destination_id(request.match_info["destination"]))

    def _secrets_for(self, request: web.Request, destination: Destination) -> dict[str, Any]:
        """What OpsCenter shows unmasked, for an admin's session and the token alone, where the settings say so."""
        who, settings = who_asks(request), destination.settings
        told = self._api.people.show_secrets and who.kind in ("user", "token") and who.role is Role.ADMIN
        shown = told and isinstance(settings, S3Settings) and settings.access_secret
        return {"access_secret": shown} if shown else {}

    async def _attributes(self, destination: Destination) -> dict[str, Any]:
        """The settings without secrets, and the rule of retention for every backup there, if there is one."""
        rules = await self._api.store.retention.of(destination.cluster, destination.id)
        attributes = attributes_of(destination.settings)
        for kept in rules:
            if kept.backup_id == EVERY_ID:
                attributes |= shown_rule(kept.rule)
        return attributes
