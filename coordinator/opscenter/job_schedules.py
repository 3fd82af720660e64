"""Job schedules. In: GET and POST /{cluster}/job-schedules, GET, PUT and DELETE of one. Out: schedules as OpsCenter
shows them, with what became of their runs."""

import re
import uuid
from datetime import date
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from aiohttp import web

from coordinator.model.access import Role
from coordinator.model.errors import Conflict
from coordinator.model.retention import KeptRule
from coordinator.model.schedules import ONCE, UNIT_SECONDS, BackupJob, Schedule, Timetable
from coordinator.opscenter import quirks
from coordinator.opscenter.backup_options import OPTIONS, read_backup
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.roles import need, who_asks
from coordinator.opscenter.rules import own_rules
from coordinator.schedule.occurrences import next_after, next_date, shown
from kit.errors import Retry

WHEN = ("first_run_date", "first_run_time", "timezone", "interval", "interval_unit")
TOLD = (
    *("id", "next_run", "last_run", "last_status", "last_message", "last_request_id"),
    *("waiting", "missed_runs", "retries"),
)
"""What is only told; taken back unread, so that who got a schedule can change it and send it."""
MOST_SCHEDULES = 200
"""Of one cluster: each is read and decided on at every look."""
LONGEST_SECONDS = 10 * 366 * 86_400
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,39}(/[A-Za-z0-9_+-]{1,40}){0,2}", re.ASCII)
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_YEARS = range(1970, 2101)


class TooManySchedules(Conflict):
    """A cluster has as many job schedules as it can have."""

    code = "too_many_schedules"
    retry: ClassVar[Retry] = "never"
    todo = "Delete schedules that are not needed any more; one schedule can name several keyspaces and destinations."


class JobSchedules:
    """A schedule's times, and its job: the options of a run, with the same meaning."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def all(self, request: web.Request) -> web.Response:
        """GET /{cluster}/job-schedules"""
        cluster = self._api.cluster(request)
        now = self._api.clock()
        return answer([_told(schedule, now) for schedule in await self._api.schedules.all(cluster)])

    async def one(self, request: web.Request) -> web.Response:
        """GET /{cluster}/job-schedules/{id}"""
        return answer(_told(await self._named(request), self._api.clock()))

    async def add(self, request: web.Request) -> web.Response:
        """POST /{cluster}/job-schedules"""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        _allow(body)
        if body.get("id") not in (None, ""):
            raise quirks.refuse("id", "is given by the coordinator; to change a schedule send a PUT to its own path")
        if len(await self._api.schedules.all(cluster)) >= MOST_SCHEDULES:
            raise TooManySchedules(f"the cluster has {MOST_SCHEDULES} job schedules, and can have no more")
        now = self._api.clock()
        timetable = _timetable(body, now)
        _refuse_over(timetable, now)
        job, rules, params = await self._job(request, cluster, body.get("job_params"))
        schedule = Schedule(str(uuid.UUID(self._api.new_id())), cluster, 1, timetable, job, params, decided=now)
        kept = await own_rules(self._api, cluster, schedule.id, rules)
        await self._api.schedules.add(schedule, kept)
        return answer(schedule.id, 201)

    async def change(self, request: web.Request) -> web.Response:
        """PUT /{cluster}/job-schedules/{id}: what isn't sent stays; `job_params` are sent whole, with their rules of
        retention, or not at all."""
        quirks.no_query(request)
        known = await self._named(request)
        await self._need_admin_of_rules(request, known)
        body = await quirks.read_body(request)
        _allow(body)
        if body.get("id") not in (None, "", known.id):
            raise quirks.refuse("id", "is another one than the path's")
        now = self._api.clock()
        timetable, job, params, kept = known.timetable, known.job, known.params, list[KeptRule]()
        sent = {name: body[name] for name in WHEN if body.get(name) is not None}
        if sent:
            former = _when(timetable)
            if quirks.as_int(sent.get("interval"), "interval", least=ONCE) == ONCE:
                former["interval_unit"] = None
            timetable = _timetable({**former, **sent}, now)
            if timetable != known.timetable:
                _refuse_over(timetable, now)
        if body.get("job_params") is not None:
            job, rules, params = await self._job(request, known.cluster, body["job_params"])
            kept = await own_rules(self._api, known.cluster, known.id, rules)
        await self._api.schedules.change(known.cluster, known.id, timetable, job, params, kept)
        return answer(known.id)

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /{cluster}/job-schedules/{id}"""
        known = await self._named(request)
        await self._need_admin_of_rules(request, known)
        await self._api.schedules.remove(known.cluster, known.id)
        return answer(known.id)

    async def _need_admin_of_rules(self, request: web.Request, known: Schedule) -> None:
        """Where a rule deletes by what a schedule makes, its times and its end are as good as the rule: a run each
        minute lets all older backups of it go by their count."""
        rules = await self._api.store.retention.of(known.cluster)
        if any(kept.backup_id == known.id and not kept.rule.retains_all for kept in rules):
            need(who_asks(request), Role.ADMIN, "a schedule with a rule of retention, which deletes backups,")

    async def _named(self, request: web.Request) -> Schedule:
        cluster = self._api.cluster(request)
        return await self._api.schedules.get(cluster, quirks.shown(request.match_info["schedule"]))

    async def _job(
        self, request: web.Request, cluster: str, value: object
    ) -> tuple[BackupJob, dict[str, dict[str, Any]], dict[str, Any]]:
        """The job, its rules of retention by place, and its options as they were sent."""
        inside = "job_params."
        if value is None:
            raise quirks.refuse("job_params", 'is missing: {"type": "backup", …} with the options of a run')
        params = quirks.canonical(quirks.as_object(value, "job_params"), inside)
        kind = params.get("type")
        if kind == "best-practice":
            raise quirks.refuse(
                f"{inside}type", "is best-practice: OpsCenter's checks of a cluster are not done here, only backups"
            )
        quirks.as_one_of(kind, f"{inside}type", ("backup",))
        quirks.allow_only(params, ("type", *OPTIONS), inside)
        options = await read_backup(self._api, cluster, dict(params), inside)
        if any(options.rules.values()):
            need(who_asks(request), Role.ADMIN, "a rule of retention, which deletes backups,")
        for copy in options.job.copies:
            if (await self._api.destination(cluster, copy.destination)).one_shot:
                raise quirks.refuse(
                    f"{inside}destinations", f"names {copy.destination}, which is forgotten after its first backup"
                )
        return options.job, options.rules, params


def _allow(body: dict[str, Any]) -> None:
    quirks.allow_only(body, (*WHEN, "job_params", *TOLD))


def _timetable(body: dict[str, Any], now: float) -> Timetable:
    """When it runs; a first date that isn't there is the next one on which the clocks show the time."""
    if body.get("first_run_time") is None:
        raise quirks.refuse("first_run_time", "is missing: hh:mm:ss, 00:00:00 to 23:59:59")
    at = quirks.as_text(body["first_run_time"], "first_run_time")
    if not _TIME.fullmatch(at):
        raise quirks.refuse("first_run_time", f"must be hh:mm:ss, 00:00:00 to 23:59:59, not {quirks.shown(at)}")
    zone = _zone(body.get("timezone"))
    day = body.get("first_run_date")
    day = next_date(at, zone, now) if day is None else _date(quirks.as_text(day, "first_run_date"))
    interval, unit = body.get("interval"), body.get("interval_unit")
    if interval is None:
        raise quirks.refuse("interval", "is missing: a number of interval_unit, or -1 for once")
    number = quirks.as_int(interval, "interval", least=ONCE)
    if number == 0:
        raise quirks.refuse("interval", "must be 1 or more, or -1 for once, not 0")
    if number == ONCE or number is None:
        if unit is not None:
            raise quirks.refuse("interval_unit", "must be null where interval is -1 (once)")
        return Timetable(day, at, zone, ONCE)
    quirks.as_one_of(unit, "interval_unit", UNIT_SECONDS)
    timetable = Timetable(day, at, zone, number, unit)
    if (timetable.seconds or 0) > LONGEST_SECONDS:
        raise quirks.refuse("interval", "is longer than ten years")
    return timetable


def _date(text: str) -> str:
    try:
        if _DATE.fullmatch(text) and date.fromisoformat(text).year in _YEARS:
            return text
    except ValueError:
        pass
    raise quirks.refuse("first_run_date", f"must be a day as YYYY-MM-DD, 1970 to 2100, not {quirks.shown(text)}")


def _zone(value: object) -> str:
    """The name of a zone that this machine knows; absent = UTC."""
    if value is None:
        return "UTC"
    name = quirks.as_text(value, "timezone")
    if _is_zone(name):
        return name
    # Capitals where nearly all zones have them: a list of all is read from hundreds of files.
    near = quirks.meant(name, [spelt for spelt in (name.title(), name.upper()) if _is_zone(spelt)])
    raise quirks.refuse("timezone", f"is no zone's name as Europe/Berlin or UTC: {quirks.shown(name)}{near}")


def _is_zone(name: str) -> bool:
    try:
        # No name that could be a path to something else than a zone.
        if _ZONE.fullmatch(name) and name not in _NO_ZONES and not name.startswith(("posix/", "right/")):
            ZoneInfo(name)
            return True
    except (KeyError, ValueError, OSError):
        pass
    return False


def _refuse_over(timetable: Timetable, now: float) -> None:
    if next_after(timetable, now) is None:
        raise quirks.refuse("first_run_date", "and first_run_time are over, and interval is -1: it would never run")


def _when(timetable: Timetable) -> dict[str, Any]:
    values = (timetable.date, timetable.time, timetable.zone, timetable.interval, timetable.unit)
    return dict(zip(WHEN, values, strict=True))


def _told(schedule: Schedule, now: float) -> dict[str, Any]:
    """The schedule as it is shown. Times that are told: ISO 8601 by the schedule's zone."""
    zone, run = schedule.timetable.zone, schedule.run

    def moment(at: float | None) -> str | None:
        return None if at is None else shown(at, zone)

    return {
        "id": schedule.id,
        **_when(schedule.timetable),
        "job_params": schedule.params,
        "next_run": moment(next_after(schedule.timetable, max(schedule.decided, now))),
        "last_run": moment(run.began if run is not None else None),
        "last_status": run.state if run is not None else None,
        "last_message": run.message if run is not None else "",
        "last_request_id": run.request if run is not None and run.state in _REQUESTED else None,
        "waiting": moment(schedule.waiting.at if schedule.waiting is not None else None),
        "missed_runs": [
            {"first": moment(each.first), "last": moment(each.last), "count": each.count, "why": each.why}
            for each in schedule.missed
        ],
        "retries": [
            {
                "tag": retry.tag,
                "destinations": retry.destinations,
                "attempts": retry.attempts,
                "request_id": retry.request or None,
                "next": None if retry.request else moment(retry.at),
            }
            for retry in schedule.retries
        ],
    }


_REQUESTED = frozenset({"running", "success", "error", "cancelled"})
"""States of a run whose request there is."""
