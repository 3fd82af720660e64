"""Why a webhook was not told. `reason` of each is in its message; addresses are named without their path, which may be
a secret."""

from coordinator.model.errors import CoordinatorError


class WebhookFailed(CoordinatorError):
    """A webhook could not be reached, was too slow, or answered anything but 2xx."""

    code = "webhook_failed"
    status = 502
    retry = "now"
    todo = "Look at the receiver of the named webhook. The notice is sent again by itself, for three days."


class WebhookAddressRefused(WebhookFailed):
    """The name of a webhook's host means an address that is never told anything: this machine, a link-local one, a
    cloud's metadata service."""

    code = "webhook_address_refused"
    todo = (
        "Look at what the host's name resolves to on the coordinator's machine. A receiver on that machine itself is "
        "configured as localhost or 127.0.0.1."
    )


class WebhookGone(CoordinatorError):
    """A webhook answered 410: it wants no more notices. It is left alone until the coordinator's next start."""

    code = "webhook_gone"
    status = 502
    todo = "Take the webhook out of the configuration; or let its receiver answer again and restart the coordinator."
