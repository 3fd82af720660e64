"""Who may do what: every route of the table, asked by everybody, on the served API."""

from pathlib import Path
from typing import Any, cast

import pytest

from agent.wire.destinations import ON_SERVER
from coordinator.model.access import Role
from coordinator.model.orders import BackupOrder, RestoreOrder
from coordinator.model.requests import RequestKind
from coordinator.opscenter.roles import CANCEL, ROLES
from kit.http_auth import DESCRIPTIONS
from tests.fast.coordinator.access_site import BEARER, NODE, PLACE, SCHEDULE, TAG, Site, site
from tests.fast.coordinator.conftest import NOW
from tests.fast.coordinator.served_routes import SERVED

C = "/Test_Cluster"
AT = "/{cluster}/backups"
SCHEDULES = "/{cluster}/job-schedules"
LOOKS = frozenset({"GET", "HEAD"})
OTHERS = frozenset({"/metrics", "/webhooks"})
"""Paths that are served beside those of `coordinator.opscenter.app`, behind the same door."""
ASKED = [route for route in SERVED if ROLES.get(route) is not None and route[1] not in OTHERS]

ORDERS: dict[tuple[str, str], Any] = {
    ("POST", "/users/{name}"): {"password": "a password for eve", "role": "read"},
    ("PUT", "/users/{name}"): {"role": "admin"},
    ("DELETE", "/users/{name}"): None,
    ("POST", "/request/{request}/cancel"): {},
    ("POST", "/{cluster}/retention/run"): {},
    ("POST", SCHEDULES): {"first_run_time": "12:00:00", "interval": -1, "job_params": {"type": "backup"}},
    ("PUT", SCHEDULES + "/{schedule}"): {"first_run_time": "13:00:00"},
    ("DELETE", SCHEDULES + "/{schedule}"): None,
    ("DELETE", AT): {"tag": TAG},
    ("POST", f"{AT}/run"): {"destinations": {PLACE: {}}},
    ("POST", f"{AT}/sync"): {"tag": TAG, "destinations": [PLACE]},
    ("POST", f"{AT}/scrub"): {"destination": PLACE},
    ("POST", f"{AT}/destinations"): {"provider": "local", "path": "here"},
    ("DELETE", AT + "/destinations/{destination}"): None,
    ("POST", f"{AT}/pit_check"): {"pit": NOW - 60},
    ("POST", f"{AT}/pit/run"): {"pit": NOW - 60},
    ("POST", f"{AT}/pit"): {},
    ("DELETE", f"{AT}/pit"): {},
    ("POST", AT + "/restore/{tag}"): {"keyspaces": ["shop"]},
    ("POST", AT + "/restore/{tag}/{keyspace}"): {},
    ("POST", AT + "/restore/{tag}/{keyspace}/{table}"): {},
}
"""A right order for each method and path that changes something: nothing but the role keeps it from being done."""


QUERIES = {"/{cluster}/backup-activity/full_status": {"type": "backup"}}
"""What a look must say."""


def path_of(route: tuple[str, str], request: str) -> str:
    """The route's path with names of what is there."""
    name = "eve" if route == ("POST", "/users/{name}") else "read"
    there = {"tag": TAG, "keyspace": "shop", "table": "users", "schedule": SCHEDULE}
    there |= {"node": NODE, "property": "mode", "type": "backup"}
    place = ON_SERVER if "graphs" in route[1] else PLACE
    return route[1].format(cluster="Test_Cluster", destination=place, request=request, name=name, **there)


async def running_backup(site: Site) -> str:
    """The id of a request of the kind that the role `backup` may order."""
    order = BackupOrder(tag="another", time=NOW, backup_id="adhoc")
    return await site.cluster.begin("Test_Cluster", RequestKind.BACKUP, order, order.tag, [ON_SERVER], {})


def test_every_route_names_its_role_and_every_kind_of_request_who_cancels_it() -> None:
    """Promise: nothing is served of which nobody decided who may use it, and the list names nothing that isn't."""
    assert set(ROLES) == set(SERVED)
    assert set(CANCEL) == set(RequestKind)
    assert set(ORDERS) == {route for route in ASKED if route[0] not in LOOKS}


def test_the_roles_are_what_they_are_said_to_be() -> None:
    """Promise: whoever may only read can't change anything, and what deletes, reconfigures or names users is an
    admin's."""
    of = {role: {route for route, needed in ROLES.items() if needed is role} for role in (None, *Role)}
    assert {method for method, _ in of[Role.READ]} == {"GET"}
    assert {route for route in of[None] if route[0] not in LOOKS} == {("POST", "/login"), ("POST", "/logout")}
    assert {path for _, path in of[None]} - DESCRIPTIONS == {"/health", "/login", "/logout"}
    assert of[Role.BACKUP] == {
        ("POST", f"{AT}/run"),
        ("POST", f"{AT}/sync"),
        ("POST", f"{AT}/scrub"),
        ("POST", "/request/{request}/cancel"),
        ("POST", SCHEDULES),
        ("PUT", SCHEDULES + "/{schedule}"),
        ("DELETE", SCHEDULES + "/{schedule}"),
    }
    assert {path.removeprefix(AT).split("{")[0] for _, path in of[Role.RESTORE]} == {
        "/restore/",
        "/pit_check",
        "/pit/run",
    }
    grave = [route for route in SERVED if route[0] in ("DELETE", "PUT") and not route[1].startswith(SCHEDULES)]
    assert all(ROLES[route] is Role.ADMIN for route in [*grave, *(each for each in SERVED if "users" in each[1])])


@pytest.mark.parametrize("route", ASKED)
async def test_only_who_has_the_role_is_let_in_and_a_refused_order_changes_nothing(
    tmp_path: Path, route: tuple[str, str]
) -> None:
    """Promise: without credentials an order is a 401, with too small a role a 403 that names the needed one, and in
    both cases nothing is begun, changed or deleted; whoever has the role is served."""
    needed = ROLES[route]
    assert needed is not None
    async with site(tmp_path) as served:
        request = await running_backup(served)
        await served.add("admin")
        for role in Role:
            if role is not Role.ADMIN:
                await served.add(role, role)
        method, path, query = route[0], path_of(route, request), QUERIES.get(route[1])
        before = await served.state()
        for spelling in (path, f"{path}/"):
            status, told = await served.ask(method, spelling, params=query, json=ORDERS.get(route))
            assert (status, told["code"]) == (401, "not_logged_in")
            for role in Role:
                if not role.allows(needed):
                    status, told = await served.ask(
                        method, spelling, params=query, json=ORDERS.get(route), headers=await served.header(role)
                    )
                    assert (status, told["code"], told["fields"]["needed"]) == (403, "role_needed", needed)
                    assert f"needs the role {needed}; {role} has the role {role}" in told["message"]
        assert await served.state() == before
        header = await served.header(needed)
        status, told = await served.ask(method, path, params=query, json=ORDERS.get(route), headers=header)
        assert status == (201 if route == ("POST", SCHEDULES) else 200), told


@pytest.mark.parametrize(
    ("who", "mine", "others"),
    [
        ("backup", RequestKind.BACKUP, RequestKind.RESTORE),
        ("restore", RequestKind.RESTORE, RequestKind.DELETE),
        ("admin", RequestKind.DELETE, None),
    ],
)
async def test_a_request_is_cancelled_by_who_may_order_it(
    tmp_path: Path, who: str, mine: RequestKind, others: RequestKind | None
) -> None:
    """Promise: a restore can't be stopped by somebody who couldn't have begun it."""
    async with site(tmp_path) as served:
        await served.add(who, Role(who))
        order = BackupOrder(tag=TAG, time=NOW, backup_id="adhoc")
        header = await served.header(who)
        if others is not None:
            request = await served.cluster.begin("Test_Cluster", others, order, TAG, [ON_SERVER], {})
            status, told = await served.ask("POST", f"/request/{request}/cancel", headers=header)
            assert (status, told["code"]) == (403, "role_needed")
            kept = await served.store.requests.get(request)
            assert kept is not None
            assert kept.cancel == ""
        request = await served.cluster.begin("Test_Cluster", mine, order, TAG, [ON_SERVER], {})
        assert (await served.ask("POST", f"/request/{request}/cancel", headers=header))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"cleanup_count": 1},
        {"destinations": {PLACE: {"cleanup_age": 1}}},
        {"destinations": {ON_SERVER: {"cleanup_floor": 1}}},
    ],
)
async def test_a_backup_brings_no_rule_that_deletes_backups(tmp_path: Path, body: dict[str, Any]) -> None:
    """Promise: retention is an admin's, also where a run names a rule; without one the run is done."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.RESTORE)
        before = await served.state()
        status, told = await served.ask("POST", f"{C}/backups/run", json=body, headers=await served.header("bob"))
        assert (status, told["code"]) == (403, "role_needed")
        assert await served.state() == before
        assert (await served.ask("POST", f"{C}/backups/run", json=body, headers=BEARER))[0] == 200


@pytest.mark.parametrize("inside", [{"cleanup_count": 1}, {"destinations": {PLACE: {"cleanup_age": 1}}}])
async def test_a_schedule_brings_no_rule_that_deletes_backups(tmp_path: Path, inside: dict[str, Any]) -> None:
    """Promise: whoever may make and change schedules can't have one delete backups; an admin can."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.RESTORE)
        header, before = await served.header("bob"), await served.state()
        times, job = {"first_run_time": "12:00:00", "interval": -1}, {"type": "backup", **inside}
        for method, path in (("POST", f"{C}/job-schedules"), ("PUT", f"{C}/job-schedules/{SCHEDULE}")):
            body = {**times, "job_params": job}
            status, told = await served.ask(method, path, json=body, headers=header)
            assert (status, told["code"], told["fields"]["needed"]) == (403, "role_needed", "admin")
            assert await served.state() == before
            assert (await served.ask(method, path, json=body, headers=BEARER))[0] in (200, 201)
            before = await served.state()


async def test_a_schedule_with_a_rule_is_an_admins(tmp_path: Path) -> None:
    """Promise: who may only back up can't make an admin's rule delete by other times, nor end the schedule; where the
    rule retains all, or there is none, they can."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.RESTORE)
        header, path = await served.header("bob"), f"{C}/job-schedules/{SCHEDULE}"
        often = {"interval": 1, "interval_unit": "minutes"}
        job = {"type": "backup", "cleanup_count": 7}
        assert (await served.ask("PUT", path, json={"job_params": job}, headers=BEARER))[0] == 200
        before = await served.state()
        for method, body in (("PUT", often), ("PUT", {"job_params": {"type": "backup"}}), ("DELETE", None)):
            status, told = await served.ask(method, path, json=body, headers=header)
            assert (status, told["code"], told["fields"]["needed"]) == (403, "role_needed", "admin")
            assert await served.state() == before
        job["cleanup_count"] = 0
        assert (await served.ask("PUT", path, json={"job_params": job}, headers=BEARER))[0] == 200
        assert (await served.ask("PUT", path, json=often, headers=header))[0] == 200
        assert (await served.ask("DELETE", path, headers=header))[0] == 200


async def test_a_changed_role_counts_at_the_next_request_of_a_session(tmp_path: Path) -> None:
    """Promise: who is demoted stops at once, who is promoted need not log in again."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.READ)
        header = await served.header("bob")
        assert (await served.ask("POST", f"{C}/backups/run", headers=header))[0] == 403
        assert (await served.ask("PUT", "/users/bob", json={"role": "backup"}, headers=BEARER))[0] == 200
        assert (await served.ask("POST", f"{C}/backups/run", headers=header))[0] == 200
        assert (await served.ask("PUT", "/users/bob", json={"role": "read"}, headers=BEARER))[0] == 200
        assert (await served.ask("POST", f"{C}/backups/run", headers=header))[0] == 403


async def test_each_request_says_who_asked_for_it(tmp_path: Path) -> None:
    """Promise: the user's name stands in the request, the token is «token», and what no one asked for is the
    coordinator's own."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.RESTORE)
        header = await served.header("bob")
        _, by_bob = await served.ask("POST", f"{C}/backups/restore/{TAG}", json={"keyspaces": ["shop"]}, headers=header)
        _, by_token = await served.ask("POST", f"{C}/backups/run", headers=BEARER)
        order = RestoreOrder(TAG, None)
        by_itself = await served.cluster.begin("Test_Cluster", RequestKind.RESTORE, order, TAG, [ON_SERVER], {})
        asked = []
        for request in (by_bob, by_token, by_itself):
            _, told = await served.ask("GET", f"/request/{request}/status", headers=header)
            asked.append(told["asked_by"])
        assert asked == ["bob", "token", "coordinator"]


async def test_a_route_that_nobody_decided_on_is_for_admins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a path that is served before its role was thought of opens nothing to lesser roles."""
    monkeypatch.delitem(cast(dict[tuple[str, str], Role | None], ROLES), ("GET", "/{cluster}/nodes"))
    async with site(tmp_path) as served:
        await served.add("bob", Role.RESTORE)
        assert (await served.ask("GET", f"{C}/nodes", headers=await served.header("bob")))[0] == 403
        assert (await served.ask("GET", f"{C}/nodes", headers=BEARER))[0] == 200
