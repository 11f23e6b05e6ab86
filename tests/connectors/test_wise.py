"""What is particular about Wise."""

import asyncio
from functools import reduce

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from connectors._base import GatewayUnavailable, InvalidSignature, PayoutUpdate, WebhookRequest
from connectors._signatures import from_base64
from models.lifecycle import PayoutStatus, join
from tests.connectors.fakes import ScriptedHttp
from tests.connectors.keys import spki
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.wise import KEY, SAMPLE, an_event

WISE = connector_of("wise")
SENT, BOUNCED, REFUNDED = "outgoing_payment_sent", "bounced_back", "funds_refunded"


def ends(*states: str) -> PayoutStatus:
    """Return where a payout stands after these states, by what our connector and the lattice make of them."""
    said = [WISE.parse(an_event(state))[0].status for state in states]
    return reduce(join, [status for status in said if status is not None], PayoutStatus.PENDING)


def test_the_key_may_be_the_base64_that_the_documentation_prints() -> None:
    WISE.verify(SAMPLE.request(), [spki(KEY)], NOW)


def test_the_signature_of_version_one_proves_nothing() -> None:
    old = KEY.sign(SAMPLE.body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - what must be refused
    ((_, text),) = SAMPLE.request().headers

    with pytest.raises(InvalidSignature, match="missing_header"):
        WISE.verify(WebhookRequest([(b"x-signature", text)], SAMPLE.body), [SAMPLE.secret], NOW)
    assert from_base64(text) != old


def test_a_signature_stands_there_once() -> None:
    with pytest.raises(InvalidSignature, match="malformed_header"):
        WISE.verify(WebhookRequest([*SAMPLE.request().headers] * 2, SAMPLE.body), [SAMPLE.secret], NOW)


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("processing", BOUNCED), PayoutStatus.BROADCAST),
        (("processing", SENT, BOUNCED), PayoutStatus.DELIVERED),
        (("processing", SENT, BOUNCED, SENT), PayoutStatus.DELIVERED),
        (("processing", SENT, BOUNCED, REFUNDED), PayoutStatus.RETURNED),
        (("processing", SENT, BOUNCED, REFUNDED, BOUNCED), PayoutStatus.RETURNED),
        (("incoming_payment_waiting", "cancelled"), PayoutStatus.CANCELED),
        (("processing", "cancelled"), PayoutStatus.FAILED),
        (("processing", "charged_back"), PayoutStatus.FAILED),
        (("processing", SENT, "charged_back"), PayoutStatus.RETURNED),
        ((SENT, "unknown"), PayoutStatus.DELIVERED),
    ],
)
def test_loops_end_in_the_lattice_whatever_their_order(states: tuple[str, ...], status: PayoutStatus) -> None:
    assert ends(*states) is status
    assert ends(*reversed(states)) is status


def test_the_event_key_does_not_hang_on_an_unsigned_header() -> None:
    again = WebhookRequest([*SAMPLE.request().headers, (b"x-delivery-id", b"another")], SAMPLE.body)

    assert WISE.event_key(again) == WISE.event_key(SAMPLE.request())


def test_an_event_of_another_profile_is_not_about_our_payouts() -> None:
    assert connector_of("wise", profile_id="9274115").parse(SAMPLE.body) == [SAMPLE.says]
    assert connector_of("wise", profile_id="1").parse(SAMPLE.body) == []


@pytest.mark.parametrize(("side", "amount"), [("target", (25000, "USD")), ("source", (21670, "EUR"))])
def test_an_amount_is_that_of_the_configured_side(side: str, amount: tuple[int, str]) -> None:
    assert SAMPLE.fetched is not None

    found = asyncio.run(connector_of("wise", amount_side=side).fetch("49142831", "", ScriptedHttp(SAMPLE.fetched)))

    assert isinstance(found, PayoutUpdate)
    assert (found.amount_minor, found.currency) == amount
    assert found.order_key == "5d4b5cf3-0c4e-4a56-8bd4-3b8f4bb1a111"


def test_a_transfer_without_its_id_cannot_be_asked_about() -> None:
    http = ScriptedHttp(SAMPLE.fetched or AssertionError())

    with pytest.raises(GatewayUnavailable, match="reference"):
        asyncio.run(WISE.fetch(None, "pay_01JX", http))

    assert http.sent == []
