"""What a visitor may do: ping, send again, recover, rotate. Each is what the API does, by the same rules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.database import transaction
from payouts import endpoints as rules
from payouts.notices import ping as owe_ping
from payouts.portal import Visit
from payouts.recover import start
from payouts.redeliver import redeliver as owe_again
from receiver.forms import BadForm
from receiver.partners.portal import places
from receiver.partners.portal.views import endpoint_page, find_endpoint
from workers.broker import QueueAway
from workers.deliver import send_deliver

_log = structlog.get_logger(__name__)

KEEP_OLD_HOURS: Final = {"24": 24, "0": 0}
RECOVER_HOURS: Final = {"1": 1, "24": 24, "72": 72, "720": 720}


def ping(request: Request, visit: Visit, _: dict[str, str]) -> Response:
    """Send an endpoint one `endpoint.ping`, and show what becomes of it."""
    with transaction() as session:
        told = owe_ping(session, find_endpoint(session, visit, request), datetime.now(UTC))
    _send(told.deliveries)
    return RedirectResponse(places.delivery(told.deliveries[0]), 303)


def redeliver(request: Request, visit: Visit, _: dict[str, str]) -> Response:
    """Send an event again, and show what becomes of it."""
    delivery_id = request.path_params["delivery_id"]
    with transaction() as session:
        made = owe_again(session, visit.sight, delivery_id, actor=visit.actor, now=datetime.now(UTC))
    _send(made.deliveries)
    return RedirectResponse(places.delivery(made.id), 303)


def recover(request: Request, visit: Visit, fields: dict[str, str]) -> Response:
    """Begin to make good what an endpoint has missed."""
    now = datetime.now(UTC)
    since = now - timedelta(hours=_chosen(fields, "hours", RECOVER_HOURS))
    endpoint_id = request.path_params["endpoint_id"]
    with transaction() as session:
        start(session, visit.sight, endpoint_id, since, actor=visit.actor, now=now)
    return RedirectResponse(places.endpoint(endpoint_id), 303)


def rotate(request: Request, visit: Visit, fields: dict[str, str]) -> Response:
    """Give an endpoint a new secret, and show it, this once."""
    now = datetime.now(UTC)
    grace = timedelta(hours=_chosen(fields, "keep_old_hours", KEEP_OLD_HOURS))
    with transaction() as session:
        endpoint = find_endpoint(session, visit, request, for_change=True)
        secret = rules.rotate(session, endpoint, grace=grace, actor=visit.actor, now=now)
        return endpoint_page(request, visit, session, endpoint, secret=secret, old_until=now + grace)


def _chosen(fields: dict[str, str], name: str, choices: dict[str, int]) -> int:
    if fields.get(name) not in choices:
        raise BadForm(422, "invalid_request", "This form does not say what it must")
    return choices[fields[name]]


def _send(ids: Sequence[str]) -> None:
    try:
        send_deliver(ids)
    except QueueAway as error:
        _log.warning("portal.left_to_sweep", error=type(error).__name__)
