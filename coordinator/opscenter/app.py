"""The API as an aiohttp application. In: the collaborators. Out: routes and middlewares."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from coordinator.opscenter import quirks
from coordinator.opscenter.activity import Activity
from coordinator.opscenter.archiving import Archiving
from coordinator.opscenter.backups import Backups
from coordinator.opscenter.clusters import Clusters
from coordinator.opscenter.context import Api
from coordinator.opscenter.delete import Delete
from coordinator.opscenter.destinations import Destinations
from coordinator.opscenter.errors import error_answer, errors_in_form
from coordinator.opscenter.graphs import Graphs
from coordinator.opscenter.job_schedules import JobSchedules
from coordinator.opscenter.login import Login
from coordinator.opscenter.point_in_time import PointInTime
from coordinator.opscenter.requests import Requests
from coordinator.opscenter.restore import Restore
from coordinator.opscenter.retention import Retention
from coordinator.opscenter.run import Run
from coordinator.opscenter.turns import Turns, Whole
from coordinator.opscenter.users import Users
from coordinator.opscenter.wanted import Wanted
from kit.http_errors import ERROR_FORM

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(
    api: Api, *, max_body_bytes: int, doors: Sequence[Middleware], own: Sequence[tuple[str, str, Endpoint]] = ()
) -> web.Application:
    """`doors`: middlewares inside the one that puts errors into form, outermost first (origin, authentication,
    limits). `own`: further routes (method, path, endpoint), which are not OpsCenter's."""
    app = web.Application(middlewares=[errors_in_form(), *doors, quirks.one_value_each], client_max_size=max_body_bytes)
    app[ERROR_FORM] = error_answer
    for method, path, endpoint in (*own, *routes(api)):
        # A slash at the end is no other path.
        for spelling in (path, f"{path}/"):
            app.router.add_route(method, spelling, endpoint)
    return app


def routes(api: Api) -> list[tuple[str, str, Endpoint]]:
    """Method, path and endpoint of everything that is built; fixed words stand before names. Which role each needs
    stands in `coordinator.opscenter.roles`."""
    clusters, activity, backups, run = Clusters(api), Activity(api), Backups(api), Run(api)
    delete, restore, destinations, requests = Delete(api), Restore(api), Destinations(api), Requests(api)
    retention, archiving, listing, nodes = Retention(api), Archiving(api), Turns(), Turns()
    point, schedules = PointInTime(api), JobSchedules(api)
    login, users, whole = Login(api), Users(api), Whole(lambda request: not Wanted(request).whole)
    at = "/{cluster}/backups"
    return [
        ("POST", "/login", login.login),
        ("GET", "/logout", login.logout),
        ("POST", "/logout", login.logout),
        ("GET", "/users", users.all),
        ("GET", "/users/{name}", users.one),
        ("POST", "/users/{name}", users.add),
        ("PUT", "/users/{name}", users.change),
        ("DELETE", "/users/{name}", users.remove),
        ("GET", "/cluster-configs", clusters.configs),
        ("GET", "/request/{request}/status", whole.of(requests.status)),
        ("POST", "/request/{request}/cancel", requests.cancel),
        ("GET", "/{cluster}/request/{type}/status", Turns().of(requests.of_type)),
        ("GET", "/{cluster}/cluster", nodes.of(clusters.cluster)),
        ("GET", "/{cluster}/nodes", nodes.of(clusters.nodes)),
        ("GET", "/{cluster}/nodes/all/{property}", nodes.of(clusters.every_property)),
        ("GET", "/{cluster}/nodes/{node}", nodes.of(clusters.node)),
        ("GET", "/{cluster}/nodes/{node}/{property}", nodes.of(clusters.node_property)),
        ("GET", "/{cluster}/job-schedules", schedules.all),
        ("POST", "/{cluster}/job-schedules", schedules.add),
        ("GET", "/{cluster}/job-schedules/{schedule}", schedules.one),
        ("PUT", "/{cluster}/job-schedules/{schedule}", schedules.change),
        ("DELETE", "/{cluster}/job-schedules/{schedule}", schedules.remove),
        ("GET", "/{cluster}/retention", retention.rules),
        ("POST", "/{cluster}/retention/run", listing.of(retention.run)),
        ("GET", "/{cluster}/backup-activity", whole.of(activity.events)),
        ("GET", "/{cluster}/backup-activity/full_status", whole.of(activity.full_status)),
        ("POST", f"{at}/run", run.run),
        ("POST", f"{at}/sync", run.sync),
        ("POST", f"{at}/scrub", run.scrub),
        ("GET", f"{at}/destinations", destinations.all),
        ("POST", f"{at}/destinations", destinations.change),
        ("GET", at + "/destinations/{destination}", destinations.one),
        ("DELETE", at + "/destinations/{destination}", destinations.delete),
        ("POST", at + "/pit_check", point.check),
        ("POST", at + "/pit/run", point.run),
        ("POST", at + "/restore/{tag}", restore.backup),
        ("POST", at + "/restore/{tag}/{keyspace}", restore.keyspace),
        ("POST", at + "/restore/{tag}/{keyspace}/{table}", restore.table),
        ("GET", at + "/pit", Turns().of(archiving.status)),
        ("POST", at + "/pit", archiving.enable),
        ("DELETE", at + "/pit", archiving.disable),
        ("GET", at + "/pit/logs", archiving.logs),
        ("GET", at + "/graphs/{tag}/{destination}", listing.of(Graphs(api).of_backup)),
        ("GET", at, listing.of(backups.all)),
        ("DELETE", at, delete.backup),
        ("GET", at + "/{keyspace}", listing.of(backups.of_keyspace)),
    ]
