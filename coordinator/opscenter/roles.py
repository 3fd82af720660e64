"""Which role each path and method needs: the one list of it, beside `coordinator.opscenter.app.routes`.

What isn't in the list needs an admin. None = everybody, logged in or not.
"""

from collections.abc import Mapping

from aiohttp import web

from coordinator.access.errors import RoleNeeded
from coordinator.model.access import Role, Who
from coordinator.model.requests import RequestKind

READ, BACKUP, RESTORE, ADMIN = Role.READ, Role.BACKUP, Role.RESTORE, Role.ADMIN

AT = "/{cluster}/backups"

ROLES: Mapping[tuple[str, str], Role | None] = {
    ("GET", "/health"): None,
    ("POST", "/login"): None,
    ("GET", "/logout"): None,
    ("POST", "/logout"): None,
    ("GET", "/metrics"): READ,
    ("GET", "/users"): ADMIN,
    ("GET", "/users/{name}"): ADMIN,
    ("POST", "/users/{name}"): ADMIN,
    ("PUT", "/users/{name}"): ADMIN,
    ("DELETE", "/users/{name}"): ADMIN,
    ("GET", "/cluster-configs"): READ,
    ("GET", "/request/{request}/status"): READ,
    ("POST", "/request/{request}/cancel"): BACKUP,  # and what `CANCEL` says of the request's kind
    ("GET", "/webhooks"): READ,
    # The same in every installation, and a browser has to open the page before it can log in (kit.http_description).
    ("GET", "/"): None,
    ("HEAD", "/"): None,
    ("GET", "/openapi.yaml"): None,
    ("HEAD", "/openapi.yaml"): None,
    ("GET", "/openapi.json"): None,
    ("HEAD", "/openapi.json"): None,
    ("GET", "/docs"): None,
    ("HEAD", "/docs"): None,
    ("GET", "/docs/{file}"): None,
    ("HEAD", "/docs/{file}"): None,
    ("GET", "/{cluster}/request/{type}/status"): READ,
    ("GET", "/{cluster}/cluster"): READ,
    ("GET", "/{cluster}/nodes"): READ,
    ("GET", "/{cluster}/nodes/all/{property}"): READ,
    ("GET", "/{cluster}/nodes/{node}"): READ,
    ("GET", "/{cluster}/nodes/{node}/{property}"): READ,
    ("GET", "/{cluster}/job-schedules"): READ,
    ("POST", "/{cluster}/job-schedules"): BACKUP,  # with a rule of retention: ADMIN, for it deletes
    ("GET", "/{cluster}/job-schedules/{schedule}"): READ,
    ("PUT", "/{cluster}/job-schedules/{schedule}"): BACKUP,  # also of one that has such a rule: ADMIN
    ("DELETE", "/{cluster}/job-schedules/{schedule}"): BACKUP,  # of one that has such a rule: ADMIN
    ("GET", "/{cluster}/retention"): READ,
    ("POST", "/{cluster}/retention/run"): ADMIN,
    ("GET", "/{cluster}/backup-activity"): READ,
    ("GET", "/{cluster}/backup-activity/full_status"): READ,
    ("GET", AT): READ,
    ("GET", AT + "/{keyspace}"): READ,
    ("GET", AT + "/graphs/{tag}/{destination}"): READ,
    ("DELETE", AT): ADMIN,
    ("POST", f"{AT}/run"): BACKUP,  # with a rule of retention: ADMIN, for it deletes
    ("POST", f"{AT}/sync"): BACKUP,
    ("POST", f"{AT}/scrub"): BACKUP,
    ("GET", f"{AT}/destinations"): READ,
    ("POST", f"{AT}/destinations"): ADMIN,
    ("GET", AT + "/destinations/{destination}"): READ,
    ("DELETE", AT + "/destinations/{destination}"): ADMIN,
    ("POST", f"{AT}/pit_check"): RESTORE,
    ("POST", f"{AT}/pit/run"): RESTORE,
    ("POST", AT + "/restore/{tag}"): RESTORE,
    ("POST", AT + "/restore/{tag}/{keyspace}"): RESTORE,
    ("POST", AT + "/restore/{tag}/{keyspace}/{table}"): RESTORE,
    ("GET", f"{AT}/pit"): READ,
    ("POST", f"{AT}/pit"): ADMIN,
    ("DELETE", f"{AT}/pit"): ADMIN,
    ("GET", f"{AT}/pit/logs"): READ,
}

FIRST_WORDS = frozenset(word for _, path in ROLES if (word := path.split("/")[1]) not in ("", "{cluster}"))
"""Of paths that are of no cluster: no cluster can be called so."""

CANCEL: Mapping[RequestKind, Role] = {
    RequestKind.BACKUP: BACKUP,
    RequestKind.SYNC: BACKUP,
    RequestKind.SCRUB: BACKUP,
    RequestKind.RESTORE: RESTORE,
    RequestKind.POINT_IN_TIME: RESTORE,
    RequestKind.PIT_CHECK: RESTORE,
    RequestKind.DELETE: ADMIN,
    RequestKind.DELETE_DRY_RUN: ADMIN,
    RequestKind.DESTINATION: ADMIN,
    RequestKind.ARCHIVING: ADMIN,
    RequestKind.ARCHIVING_LOST: ADMIN,
    RequestKind.TRIM_LOGS: ADMIN,
    RequestKind.REBUILT: ADMIN,
}
"""Who may cancel a request: whoever may order one of its kind."""

WHO: web.RequestKey[Who] = web.RequestKey("who", Who)
"""Who asks, once the door has let them in."""
NOBODY = Who("nobody", Role.READ, "anyone")
"""Behind a door that doesn't say who asks."""


def role_of_route(request: web.Request) -> Role | None:
    """The role that the request's route needs. A path or method that isn't served needs one who may look."""
    resource = request.match_info.route.resource
    if resource is None:
        return READ
    # A slash at the end is no other path.
    return ROLES.get((request.method, resource.canonical.rstrip("/") or "/"), ADMIN)


def who_asks(request: web.Request) -> Who:
    """Who sent the request."""
    who: Who = request.get(WHO, NOBODY)
    return who


def need(who: Who, role: Role, what: str) -> None:
    """Raise `RoleNeeded` unless they may do it. `what`: the thing, as a person would call it."""
    if not who.role.allows(role):
        raise RoleNeeded(
            f"{what} needs the role {role}; {who.name} has the role {who.role}", needed=role, role=who.role
        )
