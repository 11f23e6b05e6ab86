"""POST /v1/payouts/quote: what a payout would cost."""

from typing import Annotated, Final

from pydantic import Field

from models.api_key import Scope
from models.money import to_minor, to_text
from models.organisation import Organisation
from payouts.prices import plain, rate_for
from payouts.quotes import Better, Quoted, Shortfall, quote
from payouts.routes import Errand, Route
from receiver.partners.new_quote import TO_A_PERSON, TO_AN_ADDRESS, NewQuote
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.shapes import Moment, Shown


class FeeShown(Shown):
    """One part of the fee."""

    code: Annotated[str, Field(description="service: by percentage; network: a fixed amount", examples=["service"])]
    amount: Annotated[str, Field(description="In the asset", examples=["0.50"])]


class RouteShown(Shown):
    """How it would travel."""

    account: Annotated[str, Field(description="The account's slug", examples=["paycore-eu"])]
    gateway: Annotated[str, Field(examples=["paycore"])]
    network: Annotated[str | None, Field(description="Where there are several", examples=["tron"])]
    estimated_seconds: Annotated[int, Field(description="From submission to arrival, as of late", examples=[90])]


class Alternative(Shown):
    """A route that costs less."""

    route: RouteShown
    fee_total: str
    savings: str


class Recommendation(Shown):
    """What would have been better."""

    message: str
    alternative_route: Alternative


class InsufficientFunds(Shown):
    """What is missing on the balance that would pay."""

    needed: Annotated[str, Field(description="To be paid in before the quote can be used")]
    available: str
    asset: str


class QuoteShown(Shown):
    """A price that holds until `expires_at`, for one payout."""

    quote_id: Annotated[str, Field(examples=["quo_019a3c4e5f607182a1b2c3d4e5f6"])]
    expires_at: Moment
    asset: str
    user_sends: Annotated[str, Field(description="Fees included, in the asset", examples=["100.00"])]
    currency: str
    recipient_gets: Annotated[str, Field(examples=["99.20"])]
    rate: Annotated[str | None, Field(description="How many `currency` one `asset` buys; null where they are the same")]
    fees: list[FeeShown]
    fee_total: Annotated[str, Field(examples=["0.80"])]
    route: RouteShown
    destination: Annotated[str | None, Field(description="What may be shown of it", examples=["•••• 2051"])]
    recommendation: Recommendation | None
    insufficient_funds: Annotated[
        InsufficientFunds | None,
        Field(description="Null unless the balance would not pay; the quote holds all the same"),
    ]
    test_mode: bool


@operation(
    "POST",
    "/v1/payouts/quote",
    scope=Scope.PAYOUTS_WRITE,
    tag="payouts",
    summary="Quote a payout",
    refusals=("no_route", "rate_missing", "rate_expired"),
    examples={"to an address": TO_AN_ADDRESS, "to a person": TO_A_PERSON},
)
def quote_payout(call: Call, body: NewQuote) -> QuoteShown:
    """Price a payout by the route through which most arrives, for 60 seconds. `POST /v1/payouts` with the id uses it.

    In test mode a quote is not used up: the same quote always stands for the same payout.
    """
    currency = body.currency or body.asset
    errand = Errand(
        organisation=call.session.get_one(Organisation, call.caller.organisation_id),
        test_mode=call.caller.test_mode,
        asset=body.asset,
        send_minor=to_minor(body.amount, body.asset),
        currency=currency,
        rate=rate_for(call.session, body.asset, currency, call.now),
        wish=body.wish(),
    )
    return _shown(quote(call.session, errand, call.now, gateway=body.gateway, network=body.network))


def _shown(quoted: Quoted) -> QuoteShown:
    row, asset = quoted.quote, quoted.quote.asset
    return QuoteShown(
        quote_id=row.id,
        expires_at=row.expires_at,
        asset=asset,
        user_sends=to_text(row.send_minor, asset),
        currency=row.currency,
        recipient_gets=to_text(row.get_minor, row.currency),
        rate=None if row.rate is None else plain(row.rate),
        fees=[FeeShown(code=item["code"], amount=to_text(item["amount_minor"], asset)) for item in row.fees],
        fee_total=to_text(row.fee_minor, asset),
        route=_route(quoted.route),
        destination=row.destination_label,
        recommendation=_recommendation(quoted.better, asset),
        insufficient_funds=_missing(quoted.shortfall, asset),
        test_mode=row.test_mode,
    )


def _route(route: Route) -> RouteShown:
    return RouteShown(
        account=route.integration,
        gateway=route.gateway,
        network=route.network or None,
        estimated_seconds=route.estimated_seconds,
    )


def _recommendation(better: Better | None, asset: str) -> Recommendation | None:
    if better is None:
        return None
    savings = to_text(better.savings_minor, asset)
    network = f" on {better.route.network}" if better.route.network else ""
    return Recommendation(
        message=f"{better.route.integration}{network} costs {savings} {asset} less",
        alternative_route=Alternative(
            route=_route(better.route), fee_total=to_text(better.route.price.fee_minor, asset), savings=savings
        ),
    )


def _missing(shortfall: Shortfall | None, asset: str) -> InsufficientFunds | None:
    if shortfall is None:
        return None
    return InsufficientFunds(
        needed=to_text(shortfall.needed_minor, asset),
        available=to_text(shortfall.available_minor, asset),
        asset=asset,
    )


OPERATIONS: Final[list[Operation]] = [quote_payout]
