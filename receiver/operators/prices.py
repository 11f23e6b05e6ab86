"""Rates and fees as a page: what quotes are made of, set by the rules of `ratchet rates set` and `ratchet fees set`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Final

from sqlmodel import Session, select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from connectors import connector_class
from models.database import transaction
from models.integration import Integration
from models.money import InvalidAmount, to_minor, to_text
from models.price import Fee, Rate
from payouts.prices import NewFee, list_fees, list_rates, plain, set_fee, set_rate
from payouts.refused import Refused
from payouts.treasury import LONGEST_REASON, By
from receiver.operators.pages import page

LENGTHS: Final = {
    "": "until replaced",
    "5": "for 5 minutes",
    "60": "for 1 hour",
    "1440": "for 1 day",
    "10080": "for 1 week",
}
"""How long a rate may be quoted from: minutes, and how that reads."""

_NEW_RATE: Final = {"source": "", "target": "", "rate": "", "minutes": "", "reason": ""}
_NEW_FEE: Final = {
    "integration": "",
    "asset": "",
    "network": "",
    "percent": "0",
    "fixed": "0",
    "seconds": "",
    "reason": "",
}
"""The fields of the two forms."""

_HERE: Final = "/ops/prices"
_Fields = Mapping[str, str]


def show(request: Request, operator: str) -> Response:
    """Show both tables and their forms; `?rate=EUR/XOF` or `?fee=12` fills the form with what counts now."""
    return _page(request, operator)


def set_rate_(request: Request, operator: str, fields: _Fields) -> Response:
    """Have a rate count from now on."""
    try:
        with transaction() as session:
            _set_rate(session, fields, _by(operator, fields))
    except Refused as refused:
        return _page(request, operator, rate=fields, wrong=("rate", str(refused)))
    return RedirectResponse(_HERE, HTTPStatus.SEE_OTHER)


def set_fee_(request: Request, operator: str, fields: _Fields) -> Response:
    """Have a way of sending cost so much from now on."""
    try:
        with transaction() as session:
            set_fee(session, _new_fee(fields), _by(operator, fields))
    except Refused as refused:
        return _page(request, operator, fee=fields, wrong=("fee", str(refused)))
    return RedirectResponse(_HERE, HTTPStatus.SEE_OTHER)


def _by(operator: str, fields: _Fields) -> By:
    if not all(value.isprintable() for value in fields.values()):  # PostgreSQL's text holds no NUL
        raise Refused("malformed_form", "there is a character in it that cannot be seen")
    return By(f"operator:{operator}", fields.get("reason", "").strip(), datetime.now(UTC))


def _set_rate(session: Session, fields: _Fields, by: By) -> None:
    minutes = fields.get("minutes", "")
    if minutes not in LENGTHS:
        raise Refused("malformed_form", "choose how long it counts")
    until = by.now + timedelta(minutes=int(minutes)) if minutes else None
    set_rate(session, _code(fields, "source"), _code(fields, "target"), _decimal(fields, "rate"), by, until)


def _new_fee(fields: _Fields) -> NewFee:
    asset, seconds = _code(fields, "asset"), fields.get("seconds", "").strip()
    if not (seconds.isdecimal() and len(seconds) < 10):  # noqa: PLR2004 (digits, far more than any estimate has)
        raise Refused("invalid_fee", "say in whole seconds how long it takes")
    try:
        fixed_minor = to_minor(fields.get("fixed", "").strip() or "0", asset)
    except InvalidAmount as error:
        raise Refused("invalid_fee", f"fixed fee: {error}") from None
    return NewFee(
        integration=fields.get("integration", ""),
        asset=asset,
        network=fields.get("network", "").strip(),
        percent=_decimal(fields, "percent", "0"),
        fixed_minor=fixed_minor,
        estimated_seconds=int(seconds),
    )


def _code(fields: _Fields, name: str) -> str:
    return fields.get(name, "").strip().upper()


def _decimal(fields: _Fields, name: str, usual: str = "") -> Decimal:
    try:
        return Decimal(fields.get(name, "").strip() or usual)
    except InvalidOperation:
        raise Refused("malformed_form", f"write the {name} as a decimal number, like 655.957") from None


def _page(
    request: Request,
    operator: str,
    *,
    rate: _Fields | None = None,
    fee: _Fields | None = None,
    wrong: tuple[str, str] = ("", ""),
) -> Response:
    with transaction() as session:
        rates, fees = list_rates(session), list_fees(session)
        accounts = session.exec(select(Integration).order_by(Integration.slug)).all()
    paying = [account for account in accounts if connector_class(account.connector).SUPPORTS_PAYOUTS]
    priced = {slug for _, slug in fees}
    context = {
        "operator": operator,
        "rates": [(row, plain(row.rate)) for row in rates],
        "fees": [(row, slug, plain(row.percent), to_text(row.fixed_minor, row.asset)) for row, slug in fees],
        "tests": {account.slug for account in accounts if account.test_mode},
        "accounts": [account.slug for account in paying],
        "unpriced": [account.slug for account in paying if account.is_active and account.slug not in priced],
        "lengths": LENGTHS,
        "longest_reason": LONGEST_REASON,
        "new_rate": _NEW_RATE | _rate_asked(request, rates) | dict(rate or {}),
        "new_fee": _NEW_FEE | _fee_asked(request, fees) | dict(fee or {}),
        "wrong": wrong,
        "as_of": datetime.now(UTC),
    }
    return page(request, "prices.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong[0] else HTTPStatus.OK)


def _rate_asked(request: Request, rates: Sequence[Rate]) -> dict[str, str]:
    """Return what the form is filled with. From our tables: a link must not be able to bring numbers along."""
    for row in rates:
        if f"{row.source}/{row.target}" == request.query_params.get("rate"):
            return {"source": row.source, "target": row.target, "rate": plain(row.rate)}
    return {}


def _fee_asked(request: Request, fees: Sequence[tuple[Fee, str]]) -> dict[str, str]:
    for row, slug in fees:
        if str(row.id) == request.query_params.get("fee"):
            return {
                "integration": slug,
                "asset": row.asset,
                "network": row.network,
                "percent": plain(row.percent),
                "fixed": to_text(row.fixed_minor, row.asset),
                "seconds": str(row.estimated_seconds),
            }
    return {}
