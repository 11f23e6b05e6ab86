"""A partner's deliveries: newest first, filtered, page by page, each with its attempts, and nobody else's."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import DeliveryState
from payouts.create import Refused
from payouts.notices import ping
from payouts.owed import (
    EVERY_DELIVERY,
    MOST_ATTEMPTS_SHOWN,
    NEWEST_DELIVERIES,
    DeliveryFilters,
    Owed,
    find_delivery,
    list_deliveries,
)
from payouts.pages import Stretch
from payouts.reproduce import curl_line, reproduced
from payouts.sight import EVERYTHING, Sight
from tests.factories import an_endpoint, an_organisation
from tests.payouts.missed import STEPS, a_history, an_attempt, close, deliveries
from tests.workers.partners import a_partner

pytestmark = pytest.mark.usefixtures("database")


def owed(sight: Sight, filters: DeliveryFilters = EVERY_DELIVERY, stretch: Stretch = NEWEST_DELIVERIES) -> list[Owed]:
    with transaction() as session:
        return list_deliveries(session, sight, filters, stretch)


def sight(organisation: str = "Acme", *, test_mode: bool = False) -> Sight:
    return Sight(an_organisation(organisation).id, test_mode)


def test_every_endpoints_deliveries_come_in_one_list_newest_first() -> None:
    endpoints = [an_endpoint(), an_endpoint()]
    a_history(*STEPS)

    found = owed(sight())

    assert len(found) == 8
    assert {one.endpoint_id for one in found} == {endpoint.id for endpoint in endpoints}
    assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
    assert found[0].event_type == "payout.delivered"
    assert found[0].state is DeliveryState.OPEN
    assert found[0].next_attempt_at is not None


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    an_endpoint()
    an_endpoint()
    a_history(*STEPS)

    pages: list[list[Owed]] = []
    after = None
    while page := owed(sight(), stretch=Stretch("dlv", after=after, limit=3)):
        pages.append(page)
        after = page[-1].id

    assert [len(page) for page in pages] == [3, 3, 2]
    assert [one.id for page in pages for one in page] == [one.id for one in owed(sight())]


def test_filters_narrow_each_by_itself_and_together() -> None:
    endpoint, _ = an_endpoint(), an_endpoint()
    payout, _ = a_history(*STEPS), a_history(*STEPS)
    close("dead", endpoint=endpoint, sequence=2)
    close("delivered", sequence=1)

    def number(**filters: object) -> int:
        return len(owed(sight(), DeliveryFilters(**filters)))  # type: ignore[arg-type]

    assert number() == 16
    assert number(endpoint_id=endpoint.id) == 8
    assert number(state=DeliveryState.DEAD) == 2
    assert number(state=DeliveryState.OPEN) == 10
    assert number(payout_id=payout.id) == 8
    assert number(event_type="payout.broadcast") == 4
    assert number(event_type="payout.broadcast", payout_id=payout.id, endpoint_id=endpoint.id) == 1
    assert number(state=DeliveryState.DEAD, payout_id=payout.id, event_type="payout.initiated") == 1
    assert number(state=DeliveryState.DEAD, event_type="payout.broadcast") == 0
    event_id = deliveries(endpoint)[0].event_id
    assert number(event_id=event_id) == 2
    assert number(event_id=event_id, endpoint_id=endpoint.id) == 1
    assert number(endpoint_id="ep_nobody's") == number(payout_id="\0") == 0


def test_a_time_bounds_the_list() -> None:
    an_endpoint()
    before = datetime.now(UTC)
    a_history(*STEPS)
    soon = datetime.now(UTC) + timedelta(seconds=1)

    assert len(owed(sight(), stretch=Stretch("dlv", since=before, until=soon))) == 4
    assert owed(sight(), stretch=Stretch("dlv", since=soon)) == []
    assert owed(sight(), stretch=Stretch("dlv", until=before - timedelta(seconds=1))) == []


def test_what_the_latest_attempt_came_to_stands_in_the_list() -> None:
    endpoint = an_endpoint()
    a_history()
    delivery = deliveries(endpoint)[0]
    an_attempt(delivery.id, status_code=500)
    an_attempt(delivery.id, status_code=503, number=2)

    found = owed(sight())[0]

    assert (found.last_outcome, found.last_status_code, found.last_error) == ("refused", 503, "answered 503")


def test_one_delivery_comes_with_all_its_attempts_and_what_was_answered() -> None:
    endpoint = an_endpoint("http://127.0.0.1:9/hooks")
    a_history()
    delivery = deliveries(endpoint)[0]
    an_attempt(delivery.id, answer=b"first \xff\x00\x1b[2J bytes\n")
    an_attempt(delivery.id, answer=b"", number=2)

    with transaction() as session:
        found = find_delivery(session, sight(), delivery.id)

    assert [attempt.number for attempt in found.tried] == [1, 2]
    assert found.tried[0].answer == "first \ufffd\ufffd\ufffd[2J bytes\n"
    assert found.url == "http://127.0.0.1:9/hooks"
    assert '"type":"payout.pending"' in (found.payload or "")


def test_of_very_many_attempts_the_newest_are_shown() -> None:
    endpoint = an_endpoint()
    a_history()
    delivery = deliveries(endpoint)[0]
    many = text(
        "INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome)"
        " SELECT :id, n, now(), 1, 'unreachable' FROM generate_series(1, :most) n"
    )
    with transaction() as session:
        session.connection().execute(many, {"id": delivery.id, "most": MOST_ATTEMPTS_SHOWN + 5})

    with transaction() as session:
        found = find_delivery(session, sight(), delivery.id)

    assert [found.tried[0].number, found.tried[-1].number] == [6, MOST_ATTEMPTS_SHOWN + 5]


def test_a_ping_is_a_delivery_like_others() -> None:
    endpoint = an_endpoint()
    with transaction() as session:
        told = ping(session, endpoint, datetime.now(UTC))

    found = owed(sight(), DeliveryFilters(event_type="endpoint.ping"))

    assert [one.id for one in found] == told.deliveries
    assert found[0].payout_id is None


def test_nobody_sees_another_organisations_deliveries_nor_those_of_the_other_mode() -> None:
    mine, theirs = an_endpoint(), an_endpoint(organisation="Globex")
    tested = an_endpoint(test_mode=True)
    a_history(organisation="Acme")
    foreign = a_history(organisation="Globex")
    with transaction() as session:
        ping(session, tested, datetime.now(UTC))

    assert {one.endpoint_id for one in owed(sight())} == {mine.id}
    assert {one.endpoint_id for one in owed(sight("Globex"))} == {theirs.id}
    assert {one.endpoint_id for one in owed(sight(test_mode=True))} == {tested.id}
    assert owed(sight(), DeliveryFilters(endpoint_id=theirs.id)) == []
    assert owed(sight(), DeliveryFilters(payout_id=foreign.id)) == []
    assert owed(sight(), DeliveryFilters(event_id=deliveries(theirs)[0].event_id)) == []
    assert len(owed(EVERYTHING)) == 3
    for endpoint in (theirs, tested):
        assert_unknown(endpoint)


def assert_unknown(endpoint: Endpoint) -> None:
    with transaction() as session, pytest.raises(Refused) as refused:
        find_delivery(session, sight(), deliveries(endpoint)[0].id)
    assert refused.value.code == "unknown_delivery"


def test_the_command_to_reproduce_sends_the_same_event_freshly_signed_and_holds_no_secret(tmp_path: Path) -> None:
    with a_partner() as partner:
        endpoint = an_endpoint(f"{partner.url}/hooks?a=1&b=it's")
        a_history()
        with transaction() as session:
            found = find_delivery(session, sight(), deliveries(endpoint)[0].id)
        line = curl_line(found.url, found.owed.event_id, found.payload or "", ["x-token"])
        (secret,) = endpoint.secrets().live(datetime.now(UTC), "whsec_")

        environment = {"WEBHOOK_SECRET": secret, "X_TOKEN": "planted", "PATH": "/usr/bin:/bin"}
        ended = subprocess.run(
            ["/bin/bash", "-c", line], env=environment, capture_output=True, check=False, cwd=tmp_path
        )

    assert ended.returncode == 0, ended.stderr
    assert secret not in line
    assert secret.removeprefix("whsec_") not in line
    (got,) = partner.got
    assert got.path == "/hooks?a=1&b=it's"
    assert got.headers["x-token"] == "planted"
    assert got.body.decode() == found.payload
    Webhook(secret).verify(got.body, dict(got.headers))


def test_there_is_no_command_where_the_body_is_gone_or_only_we_can_sign() -> None:
    usual, asymmetric = an_endpoint(), an_endpoint(schemes=["v1a"])
    a_history()

    def command(endpoint: Endpoint) -> str | None:
        with transaction() as session:
            return reproduced(find_delivery(session, EVERYTHING, deliveries(endpoint)[0].id))

    assert command(usual) is not None
    assert command(asymmetric) is None
    with transaction() as session:
        session.connection().execute(text("UPDATE payout_event SET payload = NULL"))
    assert command(usual) is None
