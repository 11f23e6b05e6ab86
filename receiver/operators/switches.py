"""Kill switches as a page: what is switched off and why, switching off, and letting go on."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from sqlmodel import Session, col, select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from connectors import NAMES
from models.database import transaction
from models.integration import Integration
from models.money import to_text
from models.organisation import Organisation
from models.switch import SwitchScope
from payouts.parking import waiting
from payouts.refused import Refused
from payouts.switches import LONGEST_REASON, called, history, lift, read_holding, throw
from receiver.operators.pages import page
from receiver.operators.refusals import Refusal

MOST_PARKED: Final = 100
MOST_HISTORY: Final = 20
MOST_SUGGESTED: Final = 200

LENGTHS: Final = {"": "until lifted", "1": "for 1 hour", "4": "for 4 hours", "24": "for 1 day", "72": "for 3 days"}
"""What may be chosen: hours, and how that reads."""

_HERE: Final = "/ops/switches"


def show(request: Request, operator: str) -> Response:
    """Show what is switched off, what waits behind it, and the form."""
    return _page(request, operator)


def throw_(request: Request, operator: str, fields: Mapping[str, str]) -> Response:
    """Switch payouts off."""
    try:
        with transaction() as session:
            _throw(session, operator, fields, datetime.now(UTC))
    except Refused as refused:
        return _page(request, operator, fields, str(refused))
    return RedirectResponse(_HERE, HTTPStatus.SEE_OTHER)


def _throw(session: Session, operator: str, fields: Mapping[str, str], now: datetime) -> None:
    scope, hours = fields.get("scope"), fields.get("hours", "")
    if scope not in set(SwitchScope) or hours not in LENGTHS:
        raise Refused("malformed_form", "choose what to switch off, and for how long")
    throw(
        session,
        SwitchScope(scope),
        fields.get("target", "").strip() or None,
        reason=fields.get("reason", ""),
        by=f"operator:{operator}",
        until=now + timedelta(hours=int(hours)) if hours else None,
        now=now,
    )


def lift_(request: Request, operator: str, fields: Mapping[str, str]) -> Response:
    """Let payouts go on."""
    del fields
    try:
        with transaction() as session:
            lift(session, request.path_params["switch_id"], by=f"operator:{operator}", now=datetime.now(UTC))
    except Refused as refused:
        raise Refusal(409, refused.code, "It was not lifted", detail=str(refused)) from None
    return RedirectResponse(_HERE, HTTPStatus.SEE_OTHER)


def _page(request: Request, operator: str, typed: Mapping[str, str] | None = None, wrong: str = "") -> Response:
    now = datetime.now(UTC)
    with transaction() as session:
        held = read_holding(session, now)
        parked = waiting(session, [holding.switch for holding in held], MOST_PARKED)
        over = [
            (switch, called(session, switch))
            for switch in history(session, MOST_HISTORY + len(held))
            if switch.lifted_at or (switch.until and switch.until <= now)
        ]
        suggestions = _suggestions(session)
    context = {
        "operator": operator,
        "held": held,
        "parked": [(each, to_text(each.amount_minor, each.currency)) for each in parked],
        "names": {holding.switch.id: holding for holding in held},
        "over": over[:MOST_HISTORY],
        "scopes": list(SwitchScope),
        "lengths": LENGTHS,
        "longest_reason": LONGEST_REASON,
        "suggestions": suggestions,
        "typed": {"scope": "", "target": "", "reason": "", "hours": "", **(typed or {})},
        "wrong": wrong,
        "as_of": now,
    }
    return page(request, "switches.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _suggestions(session: Session) -> list[str]:
    slugs = session.exec(select(Integration.slug).order_by(Integration.slug).limit(MOST_SUGGESTED)).all()
    partners = session.exec(select(Organisation.name).order_by(col(Organisation.name)).limit(MOST_SUGGESTED)).all()
    return [*NAMES, *slugs, *partners]
