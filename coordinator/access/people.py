"""All about who may come in, put together. In: the store and the settings. Out: accounts and logins."""

from collections.abc import Callable

import msgspec

from coordinator.access.accounts import Accounts
from coordinator.access.logins import Logins
from coordinator.access.passwords import Passwords
from coordinator.model.settings import AccessSettings
from coordinator.store.protocol import Store


class People(msgspec.Struct, frozen=True):
    """What the API needs of it; `show_secrets`: `show_secrets_to_admins` of the settings."""

    accounts: Accounts
    logins: Logins
    show_secrets: bool = False


def people_of(
    store: Store,
    settings: AccessSettings,
    clock: Callable[[], float],
    passwords: Passwords,
    *,
    others_administer: bool,
) -> People:
    """`others_administer`: a token or a client CA is configured. `clock`: unix seconds."""
    return People(
        Accounts(store.users, passwords, clock, others_administer=others_administer),
        Logins(store.users, store.sessions, passwords, settings, clock),
        settings.show_secrets_to_admins,
    )
