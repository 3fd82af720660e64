"""Refusals of logins, and of changes of users."""

from typing import ClassVar

from coordinator.model.errors import CoordinatorError, InvalidArguments
from kit.errors import Retry


class LoginRefused(CoordinatorError):
    """No enabled user of that name has that password: which of the three isn't said."""

    code = "login_refused"
    type = "Unauthorized"
    status = 401
    todo = "Log in with another name or password. An admin sets a new one: helenus-coordinator users set-password NAME."

    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class TooManyLogins(CoordinatorError):
    """Too many wrong logins from this address or of this name, or more at once than are looked at; `seconds` says when
    to try again (the header Retry-After too)."""

    code = "too_many_logins"
    type = "TooManyRequests"
    status = 429
    retry: ClassVar[Retry] = "later"
    todo = "Wait as many seconds as the answer says. Sessions go on, and so does the token."

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many logins; the next one may come in {seconds} s", seconds=seconds)
        self.seconds = seconds


class NotLoggedIn(CoordinatorError):
    """The request has no session, or one that is over: it expired, was logged out, or its user was disabled, removed or
    given another password."""

    code = "not_logged_in"
    type = "Unauthorized"
    status = 401
    todo = (
        "POST /login with username and password, and send the sessionid that it answers as the header "
        "opscenter-session; or send «Authorization: Bearer <token>» with the configured token."
    )


class RoleNeeded(CoordinatorError):
    """The user's role (`role`) may not do this; `needed` is the least one that may."""

    code = "role_needed"
    type = "Forbidden"
    status = 403
    todo = "Ask somebody with the needed role, or have an admin give it: PUT /users/{name} with «role»."


class NoSuchUser(CoordinatorError):
    """There is no user of that name."""

    code = "unknown_user"
    type = "NotFound"
    status = 404
    todo = "Use a name that GET /users (or helenus-coordinator users list) tells, in the same case."


class UserExists(CoordinatorError):
    """There is a user of that name already."""

    code = "user_exists"
    type = "Conflict"
    status = 409
    todo = (
        "Choose another name, or change the user: PUT /users/{name}, helenus-coordinator users set-role, set-password."
    )


class LastAdmin(CoordinatorError):
    """Nobody could manage users any more, for no token and no client CA is configured either."""

    code = "last_admin"
    type = "Conflict"
    status = 409
    todo = "Make another admin first, or configure a token ([http] token_file)."


class WeakPassword(InvalidArguments):
    """A password that is too short, too long, or the user's name."""

    code = "weak_password"
    todo = "Choose 12 characters or more (1024 bytes at most), another text than the user's name."
