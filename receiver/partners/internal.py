"""The internal API: what our own services may ask for, by a shared secret instead of a partner's key."""

import hmac
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, ValidationInfo, field_validator
from sqlmodel import Session
from starlette.datastructures import Headers

from models.money import InvalidAmount, exponent, to_minor
from payouts.create import Created
from payouts.internal import ACTOR, ORGANISATION, InternalOrder, create_once
from payouts.keys import Caller
from receiver.partners.operation import Call, Operation, Security, operation
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import Body, Shown
from settings import settings
from workers.apply import send_apply
from workers.soon import deliver_soon, submit_soon

HEADER: Final = "X-Internal-Secret"


def _by_secret(_: Session, headers: Headers, now: datetime) -> Caller:
    """Compare with every secret, so that time tells nothing. None configured lets nobody in."""
    del now
    given = headers.getlist(HEADER)
    shown = given[0].encode() if len(given) == 1 else b""
    fits = [hmac.compare_digest(shown, secret.encode()) for secret in settings().internal_secrets]
    if not any(fits):
        raise Refusal("invalid_internal_secret", f"{HEADER} is missing or wrong; RATCHET_INTERNAL_SECRETS holds it")
    return Caller(organisation_id="", key_id=ACTOR, test_mode=False, scopes=frozenset())


INTERNAL: Final = Security(
    "internal_secret",
    {"type": "apiKey", "in": "header", "name": HEADER, "description": "For our own services only."},
    _by_secret,
    ("invalid_internal_secret",),
)


class InternalPayout(Body):
    """A payout for our own service. Amounts are decimal text; `attempt` counts from 1."""

    gateway: Annotated[
        str,
        Field(
            pattern="^[a-z0-9][a-z0-9_-]{0,62}$",
            description="An integration's slug, or a gateway's name where one integration of it is active",
            examples=["mollie-eu"],
        ),
    ]
    tx_id: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The caller's transaction", examples=["tx-4711"]
        ),
    ]
    attempt: Annotated[
        int, Field(ge=1, le=999, description="The same attempt is one payout, however often it is asked for")
    ]
    currency: Annotated[str, Field(description="ISO 4217, or an asset's code", examples=["EUR"])]
    amount: Annotated[str, Field(description="In major units, exact", examples=["250.00"])]
    organisation: Annotated[
        str, Field(min_length=1, max_length=200, description="Whose payout it is, by name", examples=["internal"])
    ] = ORGANISATION
    description: Annotated[str, Field(max_length=140, description="What the gateway shows")] = ""
    details: Annotated[
        dict[str, Any], Field(description="What the gateway needs beyond the amount: beneficiary, balance, mode")
    ] = Field(default_factory=dict, repr=False)

    @field_validator("currency")
    @classmethod
    def _is_known(cls, currency: str) -> str:
        try:
            exponent(currency)
        except InvalidAmount as error:
            raise ValueError(str(error)) from None
        return currency

    @field_validator("amount")
    @classmethod
    def _is_an_amount(cls, amount: str, info: ValidationInfo) -> str:
        try:
            if "currency" in info.data and to_minor(amount, info.data["currency"]) == 0:
                raise ValueError("must be more than nothing")
        except InvalidAmount as error:
            raise ValueError(str(error)) from None
        return amount


class GatewayPayload(Shown):
    """What the gateway is told, without whom the money goes to."""

    integration: str
    order_key: Annotated[str, Field(description="Our key there: its idempotency key where it has one")]
    amount: str
    currency: str
    description: str
    details: Annotated[list[str], Field(description="Names only")]


class InternalPayoutCreated(Shown):
    """What was created; the same answer every time."""

    payout_reference: Annotated[
        str, Field(description="The payout's id", examples=["pay_019a3c4e5f607182a1b2c3d4e5f6"])
    ]
    status: Annotated[str, Field(description="As it was created", examples=["pending"])]
    gateway_payload: GatewayPayload


@operation(
    "POST",
    "/integrations/payments/create-payout",
    scope=None,
    tag="internal",
    summary="Create a payout for our own service",
    security=INTERNAL,
    invalid="invalid_fields",
    examples={
        "first attempt": {
            "gateway": "mollie-eu",
            "tx_id": "tx-4711",
            "attempt": 1,
            "amount": "250.00",
            "currency": "EUR",
            "details": {"balanceId": "bal_1"},
        }
    },
    refusals=(
        "integration_inactive",
        "payouts_disabled",
        "payouts_unsupported",
        "webhook_secret_missing",
        "currency_unsupported",
        "integration_ambiguous",
        "unknown_organisation",
        "payout_exists",
        "previous_attempt_open",
        "idempotency_conflict",
    ),
)
def create_internal_payout(call: Call, body: InternalPayout) -> InternalPayoutCreated:
    """Six guards, and the first that fails answers.

    In this order: secret, fields, active integration, payouts enabled, a gateway that pays out, a webhook secret.
    Asking for the same (tx_id, attempt) again gives the same answer; another body is `idempotency_conflict`. Another
    attempt is `previous_attempt_open` until no other one could still pay.
    """
    order = InternalOrder(
        gateway=body.gateway,
        tx_id=body.tx_id,
        attempt=body.attempt,
        amount_minor=to_minor(body.amount, body.currency),
        currency=body.currency,
        organisation=body.organisation,
        description=body.description,
        details=body.details,
    )
    answered = create_once(call.session, order, call.now, call.request_id)
    if created := answered.created:
        call.then(lambda: _enqueue(created))
    return InternalPayoutCreated.model_validate(orjson.loads(answered.body))


def _enqueue(created: Created) -> None:
    submit_soon(created.id)
    deliver_soon(created.deliveries)
    send_apply(created.released)


OPERATIONS: Final[list[Operation]] = [create_internal_payout]
