"""The samples that `ratchet gateways check` sends: connectors read the genuine ones and refuse the forged ones."""

import pytest

import connectors
from connectors._base import Account, Connector, InvalidSignature, Reason, WebhookRequest
from sandbox.forgeries import forged
from sandbox.news import SIGNS_ITSELF as ONLY_THE_GATEWAY
from sandbox.news import News, NoSample, OnlyTheGatewaySigns, a_stranger_to, signed
from tests.connectors.sample import NOW, connector_of, sample_of

MARKER = "ratchet-check-0123456789abcdef"
AT = NOW.timestamp()
OTHERS = {
    ("adyen", "items"): {"can_read": False},
    ("cashfree", "version 1"): {"version": "v1"},
    ("bridgerpay", "as agreed"): {"signature_header": "X-Ours", "signature_encoding": "base64"},
    ("standard_webhooks", "other words"): {"statuses": "sent=delivered", "id_path": "payload.uid", "type_path": ""},
    ("standard_webhooks", "no words"): {"order_key_path": "", "occurred_at_path": ""},
}
"""What else an integration may have agreed with its gateway."""
EVERY = [(name, {}) for name in connectors.NAMES] + [(name, options) for (name, _), options in OTHERS.items()]
IDS = [*connectors.NAMES, *[f"{name}, {variant}" for name, variant in OTHERS]]
every_way = pytest.mark.parametrize(("name", "options"), EVERY, ids=IDS)


def everything_of(connector: Connector) -> dict[str, object]:
    return {name: connector.option(name) for name in connector.OPTIONS}


def request_of(news: News, path: str = "/webhooks/a") -> WebhookRequest:
    return WebhookRequest(
        [(name.lower().encode(), value.encode()) for name, value in news.headers], news.body, path=path
    )


@every_way
def test_news_of_an_unknown_payout_verifies_and_is_read_as_such(name: str, options: dict[str, object]) -> None:
    connector, secret = connector_of(name, **options), sample_of(name).secret
    if name in ONLY_THE_GATEWAY:
        with pytest.raises(OnlyTheGatewaySigns):
            signed(name, secret, MARKER, AT, everything_of(connector))
        return

    news = signed(name, secret, MARKER, AT, everything_of(connector))

    connector.verify(request_of(news), [secret], NOW)
    (update,) = connector.parse(news.body)
    assert MARKER in {update.reference, update.order_key}


@every_way
def test_no_two_checks_are_the_same_message(name: str, options: dict[str, object]) -> None:
    connector, secret = connector_of(name, **options), sample_of(name).secret
    if name in ONLY_THE_GATEWAY:
        pytest.skip("only the gateway signs")

    keys = {
        connector.event_key(request_of(signed(name, secret, marker, AT, everything_of(connector))))
        for marker in (MARKER, f"{MARKER}0")
    }

    assert len(keys) == 2


@every_way
def test_forged_news_is_refused_for_its_signature_and_for_nothing_else(name: str, options: dict[str, object]) -> None:
    connector, secret = connector_of(name, **options), sample_of(name).secret

    news = forged(name, secret, "/webhooks/a", MARKER, AT, everything_of(connector))

    with pytest.raises(InvalidSignature) as refused:
        connector.verify(request_of(news), [secret], NOW)
    assert refused.value.reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", sorted(ONLY_THE_GATEWAY))
def test_a_forgery_for_pins_that_are_none_is_still_a_forgery(name: str) -> None:
    connector = connector_of(name)

    news = forged(name, "no key at all", "/webhooks/a", MARKER, AT, everything_of(connector))

    with pytest.raises(InvalidSignature):
        connector.verify(request_of(news), [sample_of(name).secret], NOW)


def test_a_gateway_without_a_sample_says_where_to_write_one() -> None:
    with pytest.raises(NoSample, match=r"sandbox/news\.py"):
        signed("brand_new", "s", MARKER, AT, {})
    with pytest.raises(NoSample):
        forged("brand_new", "s", "/", MARKER, AT, {})


def test_a_public_key_cannot_sign_and_its_forgery_is_refused() -> None:
    public = "whpk_" + "MCowBQYDK2VwAyEA" + "A" * 27 + "="
    connector = connectors.connector_class("standard_webhooks")(Account())

    with pytest.raises(OnlyTheGatewaySigns):
        signed("standard_webhooks", public, MARKER, AT, everything_of(connector))
    news = forged("standard_webhooks", public, "/webhooks/a", MARKER, AT, everything_of(connector))

    assert dict(news.headers)["webhook-signature"].startswith("v1a,")


@pytest.mark.parametrize("name", sorted(set(connectors.NAMES) - ONLY_THE_GATEWAY))
def test_a_stranger_has_a_secret_of_the_right_form(name: str) -> None:
    stranger = a_stranger_to(name)
    connector = connector_of(name)
    news = signed(name, stranger, MARKER, AT, everything_of(connector))

    connector.verify(request_of(news), [stranger], NOW)
