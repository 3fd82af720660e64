"""The root of every error that reaches a person: a stable code, a message, what to do, and fields."""

from typing import ClassVar, Literal

Retry = Literal["never", "later", "now"]


class HelenusError(Exception):
    """An error with a stable `code` (listed in docs/errors.md), a sentence that says what to do, and named fields.

    `retry` says whether the same call may succeed later: `never` (the input must change), `later` (the world must
    change first), `now` (a passing fault). `status` is the HTTP status of a request that ends with this error.
    """

    code: ClassVar[str] = "internal"
    retry: ClassVar[Retry] = "never"
    status: ClassVar[int] = 500
    todo: ClassVar[str] = "Look into the log of the service at the time of the error and report it."

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def as_dict(self) -> dict[str, object]:
        """The error as JSON-ready data: code, message, todo, retry, fields."""
        return {
            "code": self.code,
            "message": self.message,
            "todo": self.todo,
            "retry": self.retry,
            "fields": self.fields,
        }


class InvalidInput(HelenusError):
    """A request or a setting that can't be taken as it is."""

    code = "invalid_input"
    status = 400
    todo = "Correct the named field and send the request again."


def first_of(errors: BaseExceptionGroup[HelenusError]) -> HelenusError:
    """One error of a group, for who can tell only one: tasks that fail together mostly fail for one reason."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
