"""Calling payouts off at their gateways, and the race with the submission, counted by the gateway itself."""

import pytest
from structlog.testing import capture_logs

from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.cancel import Wish
from payouts.refused import Refused
from tests.concurrency import at_once, wait_until
from tests.factories import an_integration, get_payout
from tests.sandbox.stand import Stand
from tests.workers.sandboxes import an_integration_at, an_unsent_payout, submissions
from workers.cancel import cancel
from workers.poll import poll
from workers.submit import submit

WISH = Wish(Source.PARTNER, "key:key_1")


@pytest.fixture
def stand(stand: Stand) -> Stand:
    stand.behave(speed=0.001)  # nothing moves by itself
    return stand


def _accepted(stand: Stand, name: str = "mollie") -> Payout:
    payout = an_unsent_payout(an_integration_at(stand, name))
    submit(payout.id)
    wait_until(lambda: get_payout(payout.id).submission == SubmissionState.ACCEPTED)
    return get_payout(payout.id)


def _refusal(payout: Payout) -> str:
    with pytest.raises(Refused) as refused, capture_logs():
        cancel(payout.id, WISH)
    return refused.value.code


def _natively(stand: Stand, payout: Payout) -> str:
    return str(next(one["fate_status"] for one in stand.truth() if one["order_key"] == payout.order_key))


def test_a_payout_that_waits_at_its_gateway_is_called_off_there(stand: Stand) -> None:
    payout = _accepted(stand)

    cancel(payout.id, WISH)

    assert get_payout(payout.id).status == PayoutStatus.CANCELED
    assert _natively(stand, payout) == "canceled"


def test_a_gateway_that_has_begun_refuses_and_is_asked_what_it_does(stand: Stand) -> None:
    stand.behave(speed=200)
    payout = _accepted(stand)
    wait_until(lambda: _natively(stand, payout) != "pending")

    assert _refusal(payout) == "not_cancelable"
    poll([payout.id])

    wait_until(lambda: get_payout(payout.id).status not in {"pending", "scheduled"})


def test_a_lost_answer_is_unconfirmed_and_the_next_poll_tells(stand: Stand) -> None:
    payout = _accepted(stand)
    stand.behave(timeout_after_accept=1)

    assert _refusal(payout) == "cancel_unconfirmed"
    stand.behave(timeout_after_accept=0)
    assert get_payout(payout.id).status == PayoutStatus.PENDING
    poll([payout.id])

    wait_until(lambda: get_payout(payout.id).status == PayoutStatus.CANCELED)


def test_a_gateway_that_cannot_be_reached_changes_nothing(stand: Stand) -> None:
    payout = _accepted(stand)
    _move_away(payout)

    assert _refusal(payout) == "gateway_unavailable"
    assert get_payout(payout.id).status == PayoutStatus.PENDING


def test_what_cannot_be_tidied_up_is_canceled_all_the_same(stand: Stand) -> None:
    integration = an_integration("fedapay", base_url="http://127.0.0.1:9", credentials={"secret_key": "k"})
    payout = an_unsent_payout(integration)
    _change(payout, gateway_reference="7")

    with capture_logs():
        cancel(payout.id, WISH)

    assert get_payout(payout.id).status == PayoutStatus.CANCELED


@pytest.mark.parametrize("name", ["mollie", "paycore"])
def test_a_race_between_cancellation_and_submission_is_lost_by_one_of_them(stand: Stand, name: str) -> None:
    integration = an_integration_at(stand, name)
    payouts = [an_unsent_payout(integration) for _ in range(20)]

    def try_to_cancel(payout: Payout) -> bool:
        try:
            cancel(payout.id, WISH)
        except Refused:
            return False
        return True

    with capture_logs():
        for payout in payouts:
            at_once(lambda p=payout: submit(p.id), lambda p=payout: try_to_cancel(p))  # type: ignore[misc]
        wait_until(lambda: all(_is_settled(get_payout(payout.id)) for payout in payouts))

    for payout in payouts:
        after = get_payout(payout.id)
        if after.submission == SubmissionState.UNSENT:
            assert (after.status, submissions(stand, payout)) == (PayoutStatus.CANCELED, 0)
        else:
            assert submissions(stand, payout) == 1
            assert (after.status == PayoutStatus.CANCELED) == (_natively(stand, payout) == "canceled")


def _is_settled(payout: Payout) -> bool:
    return payout.submission == SubmissionState.ACCEPTED or payout.status == PayoutStatus.CANCELED


def _move_away(payout: Payout) -> None:
    with transaction() as session:
        session.get_one(Integration, payout.integration_id).base_url = "http://127.0.0.1:9"


def _change(payout: Payout, **columns: object) -> None:
    with transaction() as session:
        row = session.get_one(Payout, payout.id)
        for name, value in columns.items():
            setattr(row, name, value)
