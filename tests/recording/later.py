"""What a version that is one minor ahead says more than this one, of everything that docs/protocol.md lets it add. In:
this version's recorded answers. Out: those of the later one."""

from typing import Any

from tests.recording.replayed import Answer, Later

NEW = {"a_field_of_later": {"and": [1, None, "more"]}}
NESTED = ("settings", "record", "plan", "result", "node", "error")
"""Objects in answers that gain fields too."""
STATE = "warming_up"
FEATURES = ["time_travel", "weather"]


class OneMinorAhead(Later):
    """Fields everywhere, features, types of events, states on the way, and a range of protocols."""

    def answer(self, pattern: str, answer: Any) -> Any:
        if isinstance(answer, list):
            return [self.answer(pattern, each) for each in answer]
        if not isinstance(answer, dict):
            return answer
        more = {**answer, **NEW}
        for name in NESTED:
            if isinstance(more.get(name), dict):
                more[name] = {**more[name], **NEW}
        for name in ("ring", "data_directories", "nodes"):
            if isinstance(more.get(name), list):
                more[name] = [{**each, **NEW} for each in more[name]]
        if pattern == "GET /v1/node":
            more |= {"agent_version": "0.2.0", "protocol_max": 2, "features": [*answer["features"], *FEATURES]}
        if pattern == "POST /v1/commands" and answer.get("state") == "queued":
            more["state"] = STATE
        return more

    def events(self, event: Answer) -> list[tuple[str, Answer]]:
        weather = {"sequence": 0, "sunny": True}
        on_the_way = {**event, **NEW, "state": STATE, "stage": "unheard_of", "result": None, "error": None}
        return [("weather", weather), ("command", on_the_way), ("command", {**event, **NEW})]
