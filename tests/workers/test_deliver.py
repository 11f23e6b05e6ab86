"""Deliveries from the row to the partner and back: in order per payout, at least once, never twice at a time."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

import payouts.addresses
import payouts.deliveries
import payouts.faring
import workers.courier
import workers.deliver
from models.database import transaction
from models.endpoint import Endpoint, EndpointSecrets, new_secret
from models.lifecycle import PayoutStatus
from models.outbox import Attempt, Delivery, DeliveryState
from models.payout import Payout
from models.sealed import seal
from payouts.claiming import claim, successors
from payouts.deliveries import LEASE, MOST_ATTEMPTS, Finished
from reconciler.sweep import sweep_outbox
from settings import settings
from tests.concurrency import wait_until
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, say
from tests.servers import a_process
from tests.workers.partners import OK, Got, Partner, a_partner, status
from workers.broker import broker
from workers.deliver import carry, deliver, send_deliver
from workers.lanes import FIRST_SHARE

HISTORY = (PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED, PayoutStatus.RETURNED)


@pytest.fixture
def partner(database: None) -> Iterator[Partner]:
    broker.flush_all()
    with a_partner() as partner:
        yield partner


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.deliveries, "RETRY_AFTER", (timedelta(0),) * (MOST_ATTEMPTS - 1))
    monkeypatch.setattr(payouts.faring, "FIRST_PAUSE", timedelta(0))


def ids(*payouts_: Payout) -> list[str]:
    return [delivery.id for payout in payouts_ for delivery in get_deliveries(payout)]


def states(payout: Payout) -> list[str]:
    return [delivery.state for delivery in get_deliveries(payout)]


def attempts() -> list[Attempt]:
    with transaction() as session:
        return list(session.exec(select(Attempt).order_by("id")))


def until_all_are(state: DeliveryState, *payouts_: Payout) -> None:
    wait_until(lambda: all(set(states(payout)) == {state} for payout in payouts_))


def until_settled() -> None:
    """Wait until nobody is attempting anything."""

    def nothing_is_leased() -> bool:
        with transaction() as session:
            return (
                not session.connection()
                .execute(text("SELECT count(*) FROM delivery WHERE leased_until > now()"))
                .scalar_one()
            )

    wait_until(nothing_is_leased)


def test_a_partner_gets_its_event_signed_and_it_is_on_record(partner: Partner) -> None:
    endpoint = an_endpoint(partner.url)
    payout = a_payout()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    (got,), (attempt,) = partner.got, attempts()
    body = Webhook(endpoint.secrets().live(datetime.now(UTC))[0]).verify(got.body, dict(got.headers))
    assert (body["type"], body["data"]["id"]) == ("payout.pending", payout.id)
    assert (attempt.outcome, attempt.status_code, attempt.number) == ("delivered", 200, 1)


def test_an_endpoint_may_have_headers_of_its_own_and_both_signatures(partner: Partner) -> None:
    endpoint = an_endpoint(
        partner.url, schemes=["v1", "v1a"], sealed_headers=seal({"authorization": "Bearer token", "x-tenant": "7"})
    )
    payout = a_payout()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    (got,) = partner.got
    schemes = [each.partition(",")[0] for each in got.headers["webhook-signature"].split(" ")]
    assert (got.headers["authorization"], got.headers["x-tenant"]) == ("Bearer token", "7")
    assert schemes == ["v1", "v1a"]
    Webhook(endpoint.secrets().live(datetime.now(UTC))[0]).verify(got.body, dict(got.headers))


def test_an_endpoint_that_asks_for_v1a_alone_gets_no_other_signature(partner: Partner) -> None:
    an_endpoint(partner.url, schemes=["v1a"])
    payout = a_payout()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    assert partner.got[0].headers["webhook-signature"].startswith("v1a,")
    assert " " not in partner.got[0].headers["webhook-signature"]


def test_a_secret_whose_time_is_over_signs_no_more(partner: Partner) -> None:
    old, new, now = new_secret(), new_secret(), datetime.now(UTC)
    endpoint = an_endpoint(partner.url)
    with transaction() as session:
        row = session.get_one(Endpoint, endpoint.id)
        row.keep(EndpointSecrets.of(old).rotated([new], now + timedelta(seconds=-1), now - timedelta(seconds=9)))
    payout = a_payout()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    Webhook(new).verify(partner.got[0].body, dict(partner.got[0].headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(partner.got[0].body, dict(partner.got[0].headers))


def test_an_endpoint_that_is_gone_is_switched_off_and_the_others_hear_of_it(partner: Partner) -> None:
    with a_partner(lambda _got, _nth: status(410)) as gone:
        endpoint = an_endpoint(gone.url)
        an_endpoint(partner.url, event_types=["payout.failed"])
        payout, later = a_payout(), a_payout()

        deliver(ids(payout))
        wait_until(lambda: len(partner.got) == 1)
        deliver(ids(later))

    told = orjson.loads(partner.got[0].body)
    assert (told["type"], told["data"]["id"], told["data"]["reason"]) == ("endpoint.disabled", endpoint.id, "gone")
    assert states(later) == [DeliveryState.OPEN]
    assert len(gone.got) == 1


def test_an_endpoint_that_asks_for_a_rest_gets_one(partner: Partner) -> None:
    partner.script = lambda _got, _nth: status(429, retry_after="60")
    an_endpoint(partner.url)
    payouts_ = [a_payout() for _ in range(30)]

    deliver(ids(*payouts_))
    until_settled()
    wait_until(lambda: len(attempts()) == len(partner.got))
    made = len(partner.got)
    deliver(ids(*payouts_))
    until_settled()

    assert len(partner.got) == made <= FIRST_SHARE
    assert sum(get_deliveries(payout)[0].attempts for payout in payouts_) == made


def test_what_a_hanging_endpoint_never_got_has_used_up_no_attempt(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()
    monkeypatch.setattr(workers.courier, "ATTEMPT_TIMEOUT", timedelta(seconds=0.3))

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    partner.script = hang
    endpoint = an_endpoint(partner.url)
    integration = an_integration()
    payouts_ = [a_payout(integration) for _ in range(60)]

    with capture_logs():
        _with_a_new_office(ids(*payouts_))
    may_answer.set()

    tried = {attempt.delivery_id for attempt in attempts()}
    untouched = [one for payout in payouts_ for one in get_deliveries(payout) if one.id not in tried]
    assert len(untouched) > 30
    assert {(one.attempts, one.leased_until) for one in untouched} == {(0, None)}
    with transaction() as session:
        assert session.get_one(Endpoint, endpoint.id).failures == len(tried)


def _with_a_new_office(delivery_ids: list[str]) -> None:
    """Deliver with handles of this test's own time-out."""
    office = workers.deliver.Office()
    office.post(delivery_ids)
    until_settled()
    office.close()


def test_a_long_backlog_of_one_endpoint_is_delivered_without_the_sweep(partner: Partner) -> None:
    an_endpoint(partner.url)
    integration = an_integration()
    payouts_ = [a_payout(integration) for _ in range(300)]

    deliver(ids(*payouts_))

    until_all_are(DeliveryState.DELIVERED, *payouts_)
    assert len(partner.got) == 300


def test_what_the_courier_had_no_room_for_goes_out_though_all_else_is_over(partner: Partner) -> None:
    endpoint = an_endpoint(partner.url)
    payout = a_payout()
    until_settled()

    carry([], {endpoint.id: ids(payout)})

    until_all_are(DeliveryState.DELIVERED, payout)


def test_a_busy_recorder_asks_once_what_comes_after_each_attempt_and_forgets_none(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(session: Session, finished: Sequence[Finished], at: datetime) -> list[str]:
        asked.extend(one.claimed.id for one in finished)
        return successors(session, finished, at)

    monkeypatch.setattr(workers.deliver, "successors", note)
    an_endpoint(partner.url)
    integration = an_integration()
    payouts_ = [a_payout(integration) for _ in range(60)]
    for step in HISTORY:
        for payout in payouts_:
            say(payout, step)

    deliver(ids(*payouts_))

    until_all_are(DeliveryState.DELIVERED, *payouts_)
    owed = [delivery.id for payout in payouts_ for delivery in get_deliveries(payout)]
    wait_until(lambda: len(asked) >= len(owed))
    assert sorted(asked) == sorted(owed)
    assert len(partner.got) == len(owed)


def test_both_secrets_sign_while_one_is_replaced(partner: Partner) -> None:
    old, new = new_secret(), new_secret()
    endpoint = an_endpoint(partner.url)
    with transaction() as session:
        session.get_one(Endpoint, endpoint.id).keep(EndpointSecrets.of(new, old))
    payout = a_payout()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    for secret in (old, new):
        Webhook(secret).verify(partner.got[0].body, dict(partner.got[0].headers))


def test_every_attempt_carries_the_same_id_and_the_same_bytes(retries_at_once: None, partner: Partner) -> None:
    partner.script = lambda _got, nth: status(503) if nth < 3 else OK
    an_endpoint(partner.url)
    payout = a_payout()

    wait_until(lambda: _again(payout))

    assert len(partner.got) == 4
    assert len(set(partner.ids())) == 1
    assert len({got.body for got in partner.got}) == 1
    assert [attempt.number for attempt in attempts()] == [1, 2, 3, 4]


def _again(payout: Payout) -> bool:
    deliver(ids(payout))
    return set(states(payout)) == {DeliveryState.DELIVERED}


def test_the_events_of_one_payout_arrive_in_their_order(partner: Partner) -> None:
    partner.script = lambda _got, nth: status(503) if nth in (1, 4) else OK
    an_endpoint(partner.url)
    payout = a_payout()
    for step in HISTORY:
        say(payout, step)

    def nudge() -> bool:
        with transaction() as session:
            session.connection().execute(text("UPDATE delivery SET next_attempt_at = now() WHERE leased_until IS NULL"))
        return _again(payout)

    wait_until(nudge)

    told = [orjson.loads(got.body)["data"]["sequence"] for got in partner.got]
    assert sorted(set(told)) == [1, 2, 3, 4, 5]
    assert told == sorted(told)
    assert len(told) == 7


def test_a_refused_event_holds_up_its_own_payout_only(partner: Partner) -> None:
    an_endpoint(partner.url)
    refused, fine = a_payout(), a_payout()
    say(refused, PayoutStatus.DELIVERED)
    say(fine, PayoutStatus.DELIVERED)
    partner.script = lambda got, _nth: status(500) if refused.id.encode() in got.body else OK

    deliver(ids(refused, fine))
    until_all_are(DeliveryState.DELIVERED, fine)
    until_settled()

    assert states(refused) == [DeliveryState.OPEN, DeliveryState.OPEN]
    assert sum(refused.id.encode() in got.body for got in partner.got) == 1


def test_payouts_are_told_about_at_the_same_time(partner: Partner) -> None:
    together = threading.Barrier(8)

    def meet(_got: Got, _nth: int) -> Callable[..., None]:
        together.wait(20)
        return OK

    partner.script = meet
    an_endpoint(partner.url)
    payouts_ = [a_payout() for _ in range(8)]

    deliver(ids(*payouts_))

    until_all_are(DeliveryState.DELIVERED, *payouts_)


def test_one_hanging_partner_does_not_hold_up_another(partner: Partner) -> None:
    may_answer = threading.Event()

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    with a_partner(hang) as hanging:
        an_endpoint(hanging.url)
        an_endpoint(partner.url, organisation="Prompt")
        held_up = [a_payout() for _ in range(10)]
        prompt = [a_payout(organisation="Prompt") for _ in range(10)]

        deliver(ids(*held_up, *prompt))
        until_all_are(DeliveryState.DELIVERED, *prompt)
        states_meanwhile = {state for payout in held_up for state in states(payout)}
        may_answer.set()
        until_all_are(DeliveryState.DELIVERED, *held_up)

    assert states_meanwhile == {DeliveryState.OPEN}


def test_a_failed_attempt_is_due_again_by_the_schedule(partner: Partner) -> None:
    partner.script = lambda _got, _nth: status(500, b"no room")
    an_endpoint(partner.url)
    payout = a_payout()

    deliver(ids(payout))
    wait_until(lambda: len(attempts()) == 1)
    until_settled()
    deliver(ids(payout))

    (delivery,), (attempt,) = get_deliveries(payout), attempts()
    wait = delivery.next_attempt_at - attempt.started_at
    assert timedelta(seconds=5) <= wait < timedelta(seconds=8)
    assert (attempt.outcome, attempt.status_code, attempt.answer) == ("refused", 500, b"no room")
    assert len(partner.got) == 1


def test_after_the_last_attempt_it_is_dead_and_the_next_event_goes_out(retries_at_once: None, partner: Partner) -> None:
    an_endpoint(partner.url)
    payout = a_payout()
    say(payout, PayoutStatus.DELIVERED)
    partner.script = lambda got, _nth: status(500) if b"payout.pending" in got.body else OK

    def is_over() -> bool:
        deliver(ids(payout))
        return DeliveryState.OPEN not in states(payout)

    wait_until(is_over)

    assert states(payout) == [DeliveryState.DEAD, DeliveryState.DELIVERED]
    assert len(partner.got) == MOST_ATTEMPTS + 1


def test_a_delivery_that_is_queued_many_times_is_attempted_once(partner: Partner) -> None:
    an_endpoint(partner.url)
    payouts_ = [a_payout() for _ in range(20)]

    threads = [threading.Thread(target=deliver, args=[ids(*payouts_)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_all_are(DeliveryState.DELIVERED, *payouts_)

    assert len(partner.got) == 20


def test_a_disabled_endpoint_is_left_alone(partner: Partner) -> None:
    endpoint = an_endpoint(partner.url)
    payout = a_payout()
    with transaction() as session:
        session.get_one(Endpoint, endpoint.id).is_enabled = False

    deliver(ids(payout))

    assert (states(payout), partner.got) == ([DeliveryState.OPEN], [])
    assert get_deliveries(payout)[0].attempts == 0


def test_what_a_lost_worker_had_claimed_goes_out_again_when_its_lease_ends(partner: Partner) -> None:
    an_endpoint(partner.url)
    payout = a_payout()
    with transaction() as session:
        assert claim(session, ids(payout), datetime.now(UTC)).claimed

    deliver(ids(payout))
    while_leased = len(partner.got)
    _let_leases_end()
    sweep_outbox()
    queued = broker.client.llen("ratchet:deliver")
    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    assert (while_leased, queued) == (0, 1)
    assert [attempt.number for attempt in attempts()] == [2]


def test_a_worker_killed_within_an_attempt_loses_nothing(partner: Partner) -> None:
    may_answer = threading.Event()

    def hang_first(_got: Got, nth: int) -> Callable[..., None]:
        if nth == 0:
            may_answer.wait(20)
        return OK

    partner.script = hang_first
    an_endpoint(partner.url)
    payout = a_payout()
    with a_process("-m", "workers") as worker:
        send_deliver(ids(payout))
        wait_until(lambda: len(partner.got) == 1)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    may_answer.set()
    _let_leases_end()

    deliver(ids(payout))
    until_all_are(DeliveryState.DELIVERED, payout)

    assert len(partner.got) == 2
    assert len(set(partner.ids())) == 1


def test_a_worker_that_is_told_to_stop_records_what_it_has_begun(partner: Partner) -> None:
    begun, may_answer = threading.Event(), threading.Event()

    def answer_late(_got: Got, _nth: int) -> Callable[..., None]:
        begun.set()
        may_answer.wait(20)
        return OK

    partner.script = answer_late
    an_endpoint(partner.url)
    payout = a_payout()
    with a_process("-m", "workers") as worker:
        send_deliver(ids(payout))
        assert begun.wait(20)
        worker.terminate()
        may_answer.set()
        assert worker.wait(20) == 0

    assert states(payout) == [DeliveryState.DELIVERED]


def test_an_attempt_is_recorded_when_the_database_comes_back(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint(partner.url)
    payout = a_payout()
    record, failures = workers.deliver.record, [OperationalError("INSERT", {}, Exception("away"))] * 2

    def stumbles(*given: Any) -> None:
        if failures:
            raise failures.pop()
        record(*given)

    monkeypatch.setattr(workers.deliver, "record", stumbles)

    with capture_logs():
        deliver(ids(payout))
        until_all_are(DeliveryState.DELIVERED, payout)

    assert len(partner.got) == 1


def test_a_stumble_does_not_end_the_recorder(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint(partner.url)
    first, second = a_payout(), a_payout()
    with capture_logs() as lines, monkeypatch.context() as broken:
        broken.setattr(workers.deliver, "record", lambda *_: 1 / 0)
        deliver(ids(first))
        wait_until(lambda: any(line["event"] == "delivery.recorder_stumbled" for line in lines))

    deliver(ids(second))

    until_all_are(DeliveryState.DELIVERED, second)


def _let_leases_end() -> None:
    with transaction() as session:
        for delivery in session.exec(select(Delivery)):
            delivery.leased_until = datetime.now(UTC) - timedelta(seconds=1)
            delivery.next_attempt_at = datetime.now(UTC) - LEASE


def test_an_endpoint_of_another_organisation_hears_nothing(partner: Partner) -> None:
    with a_partner() as other:
        an_endpoint(partner.url)
        an_endpoint(other.url, organisation="Somebody else")
        payout = a_payout(an_integration())

        deliver(ids(payout))
        until_all_are(DeliveryState.DELIVERED, payout)

        assert (len(partner.got), other.got) == (1, [])


def test_an_address_that_may_not_be_dialled_is_on_record_as_forbidden(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_public = replace(settings(), private_endpoints=False)
    monkeypatch.setattr(payouts.addresses, "settings", lambda: in_public)
    an_endpoint(partner.url)
    payout = a_payout()

    deliver(ids(payout))
    wait_until(lambda: len(attempts()) == 1)

    (attempt,) = attempts()
    assert (attempt.outcome, attempt.error, attempt.status_code) == (
        "forbidden",
        "the address may not be dialled",
        None,
    )
    assert (states(payout), partner.got) == ([DeliveryState.OPEN], [])
