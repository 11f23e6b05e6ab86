"""What is particular about Circle."""

import pytest

from connectors._base import InvalidSignature, PayoutUpdate, UnreadableEvent, WebhookRequest
from models.lifecycle import PayoutStatus
from tests.connectors.keys import pem, spki
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.circle import KEY, KEY_ID, OTHER, SAMPLE, a_notification, a_payout

CIRCLE = connector_of("circle")
RETURN = {"id": "9b2d", "payoutId": "b8627ae8", "status": "complete", "reason": "account_closed"}


@pytest.mark.parametrize("secret", [spki(KEY), pem(KEY), f"keyid={KEY_ID} {pem(KEY)}", f"keyid={KEY_ID}\n{pem(KEY)}"])
def test_a_key_is_pinned_with_its_id_or_without(secret: str) -> None:
    CIRCLE.verify(SAMPLE.request(), [spki(OTHER), secret], NOW)


@pytest.mark.parametrize("keyid", [b"", b"\xff", KEY_ID.upper().encode(), b"../x"])
def test_an_id_that_is_not_pinned_is_unknown(keyid: bytes) -> None:
    headers = [(name, value if name != b"x-circle-key-id" else keyid) for name, value in SAMPLE.request().headers]

    with pytest.raises(InvalidSignature, match="unknown_key"):
        CIRCLE.verify(WebhookRequest(headers, SAMPLE.body), [SAMPLE.secret], NOW)


def test_a_payout_may_stand_under_its_own_name() -> None:
    assert CIRCLE.parse(a_notification({"payout": a_payout()})) == [SAMPLE.says]


@pytest.mark.parametrize(
    ("word", "status"),
    [("complete", PayoutStatus.RETURNED), ("pending", PayoutStatus.DELIVERED), ("failed", PayoutStatus.DELIVERED)],
)
def test_a_payout_with_a_complete_return_is_returned(word: str, status: PayoutStatus) -> None:
    (update,) = CIRCLE.parse(a_notification(a_payout(**{"return": RETURN | {"status": word}})))

    assert update.status is status


@pytest.mark.parametrize(("word", "status"), [("complete", PayoutStatus.RETURNED), ("pending", None), ("failed", None)])
def test_a_return_of_its_own_is_news_when_it_is_complete_and_a_hint_before(
    word: str, status: PayoutStatus | None
) -> None:
    body = a_notification(RETURN | {"status": word}, notificationType="returns")

    assert CIRCLE.parse(body) == [
        PayoutUpdate(reference="b8627ae8", status=status, said=f"return {word}", failure_code="account_closed")
    ]


def test_a_return_in_an_unknown_state_is_for_a_person() -> None:
    with pytest.raises(UnreadableEvent, match="status"):
        CIRCLE.parse(a_notification(RETURN | {"status": "lost"}, notificationType="returns"))


def test_a_failure_has_its_code() -> None:
    (update,) = CIRCLE.parse(a_notification(a_payout(status="failed", errorCode="insufficient_funds")))

    assert (update.status, update.failure_code) == (PayoutStatus.FAILED, "insufficient_funds")
