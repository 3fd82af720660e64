"""What can go wrong between the coordinator and its agents, as errors with stable codes."""

from typing import Any

from kit.errors import HelenusError
from kit.http_auth import Unauthorized
from kit.http_origin import ForeignOrigin


class AgentUnreachable(HelenusError):
    """No answer within the deadline: down, stopped, cut off, or not an agent. Whether a request arrived is unknown."""

    code = "agent_unreachable"
    retry = "later"
    status = 503
    todo = "Start the agent on the named node or repair the network; what it had accepted goes on by itself."


class AgentMisbehaved(HelenusError):
    """An answer that isn't of the protocol: another program listens there, or a version that can't be understood."""

    code = "agent_misbehaved"
    status = 502
    todo = "Check that the named address is a Helenus agent of a version that this coordinator understands."


class ListingTooLarge(HelenusError):
    """An agent lists more backups than the coordinator holds in memory at once: several thousand of a thousand nodes.
    No fault of that agent's, unless it makes them up."""

    code = "listing_too_large"
    status = 502
    todo = (
        "Delete backups that nobody needs, by the tags that the activity tells; a retention rule keeps them fewer from "
        "then on. If there are not that many, see to the named agent."
    )


class AgentRefused(HelenusError):
    """The agent answered with an error object. `error` is that object as it came: its own code, message and fields."""

    code = "agent_refused"
    status = 502
    todo = "See the agent's own error in the fields."

    def __init__(self, url: str, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "The agent refused.")), agent=url, error=error)
        self.error = error
        self.agent_status = status

    @property
    def agent_code(self) -> str:
        """The code of the agent's own error."""
        return str(self.error.get("code", self.code))

    @property
    def at_the_door(self) -> bool:
        """Whether the agent let nobody in who shows what the coordinator showed, and so looked at nothing else: its
        token was changed, or the coordinator's, or it asks for a certificate now. A 403 of its commands is another
        matter."""
        return self.agent_status == Unauthorized.status or self.agent_code == ForeignOrigin.code

    def as_dict(self) -> dict[str, object]:
        """The agent's error object, with the agent's address among its fields."""
        fields = self.error.get("fields")
        own = {name: value for name, value in self.fields.items() if name != "error"}
        return {
            "code": self.agent_code,
            "message": self.message,
            "todo": str(self.error.get("todo", self.todo)),
            "retry": str(self.error.get("retry", self.retry)),
            "fields": {**(fields if isinstance(fields, dict) else {}), **own},
        }


class TokenRefused(AgentUnreachable):
    """An agent that is there and lets the coordinator in no more: what it had accepted it goes on with, and tells once
    the tokens are the same again. So it is waited for as one that doesn't answer, under that one's code."""

    todo = (
        "Compare [http] token_file and client_ca of the agent's agent.toml with token_file and certificate_file of the "
        "cluster's table in coordinator.toml, and restart whichever was given another one; what was accepted goes on."
    )

    def __init__(self, refused: AgentRefused) -> None:
        url = refused.fields["agent"]
        super().__init__(
            f"The agent at {url} doesn't let the coordinator in any more: compare [http] token_file of its agent.toml "
            f"with [clusters.<id>] token_file of coordinator.toml (it says: {refused.message})",
            agent=url,
            error=refused.error,
        )


class DuplicateHostId(HelenusError):
    """Two configured agents answer with one host id."""

    code = "duplicate_host_id"
    status = 409
    todo = "Correct the cluster's list of agents: each node has one agent, and each agent talks to its own node."


class MixedClusters(HelenusError):
    """The agents of one configured cluster speak for Cassandra clusters of different names."""

    code = "mixed_clusters"
    status = 409
    todo = "Correct the cluster's list of agents: all must belong to one Cassandra cluster."
