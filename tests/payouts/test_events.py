"""A partner's events: its own, newest first, page by page, and nobody else's whatever id is guessed."""

from datetime import UTC, datetime, timedelta

import pytest

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout
from payouts.create import Refused
from payouts.events import EVERY_EVENT, NEWEST_EVENTS, Event, EventFilters, find_event, list_events
from payouts.notices import ping
from payouts.pages import Stretch
from payouts.sight import EVERYTHING, Sight
from tests.factories import an_endpoint, an_organisation, get_events
from tests.payouts.missed import STEPS, a_history

pytestmark = pytest.mark.usefixtures("database")


def events(sight: Sight, filters: EventFilters = EVERY_EVENT, stretch: Stretch = NEWEST_EVENTS) -> list[Event]:
    with transaction() as session:
        return list_events(session, sight, filters, stretch)


def sight(organisation: str = "Acme", *, test_mode: bool = False) -> Sight:
    return Sight(an_organisation(organisation).id, test_mode)


def ids(payout: Payout) -> list[str]:
    return [event.id for event in reversed(get_events(payout))]


def test_events_come_newest_first_with_the_very_body_that_is_sent() -> None:
    payout = a_history(*STEPS)

    found = events(sight())

    assert [event.id for event in found] == ids(payout)
    assert [event.type for event in found] == [f"payout.{status}" for status in (*reversed(STEPS), "pending")]
    assert found[0].payload == get_events(payout)[-1].payload
    assert found[0].body is not None
    assert found[0].body["data"]["sequence"] == found[0].sequence == 4


def test_a_notice_about_an_endpoint_stands_among_them() -> None:
    payout = a_history()
    with transaction() as session:
        told = ping(session, an_endpoint(), datetime.now(UTC))

    found = events(sight())

    assert [event.id for event in found] == [told.id, *ids(payout)]
    assert (found[0].type, found[0].payout_id, found[0].sequence) == ("endpoint.ping", None, None)


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    payout = a_history(*STEPS)

    pages: list[list[Event]] = []
    after = None
    while page := events(sight(), stretch=Stretch("evt", after=after, limit=3)):
        pages.append(page)
        after = page[-1].id

    assert [len(page) for page in pages] == [3, 1]
    assert [event.id for page in pages for event in page] == ids(payout)


@pytest.mark.parametrize(
    ("filters", "types"),
    [
        (EventFilters(type="payout.delivered"), ["payout.delivered"]),
        (EventFilters(type="endpoint.ping"), ["endpoint.ping"]),
        (EventFilters(type="delivered"), []),
        (EventFilters(type="payout.%"), []),
        (EventFilters(type="\0"), []),
        (EventFilters(payout_id="pay_nobody's"), []),
    ],
)
def test_filters_narrow(filters: EventFilters, types: list[str]) -> None:
    a_history(*STEPS)
    with transaction() as session:
        ping(session, an_endpoint(), datetime.now(UTC))

    assert [event.type for event in events(sight(), filters)] == types


def test_one_payouts_events_are_found_by_it() -> None:
    payout, _ = a_history(*STEPS), a_history(*STEPS)

    assert [event.id for event in events(sight(), EventFilters(payout_id=payout.id))] == ids(payout)


def test_a_time_bounds_the_list() -> None:
    before = datetime.now(UTC)
    payout = a_history(PayoutStatus.INITIATED)
    soon = datetime.now(UTC) + timedelta(seconds=1)

    assert [event.id for event in events(sight(), stretch=Stretch("evt", since=before, until=soon))] == ids(payout)
    assert events(sight(), stretch=Stretch("evt", since=soon)) == []
    assert events(sight(), stretch=Stretch("evt", until=before - timedelta(seconds=1))) == []


def test_nobody_sees_another_organisations_events_nor_those_of_the_other_mode() -> None:
    a_history(*STEPS, organisation="Acme")
    theirs = a_history(*STEPS, organisation="Globex")
    tested = a_history(*STEPS, organisation="Acme", test_mode=True)

    assert {event.payout_id for event in events(sight("Globex"))} == {theirs.id}
    assert {event.payout_id for event in events(sight(test_mode=True))} == {tested.id}
    assert events(sight(), EventFilters(payout_id=theirs.id)) == []
    assert len(events(EVERYTHING)) == 12
    for payout in (theirs, tested):
        with transaction() as session, pytest.raises(Refused, match="no such event") as refused:
            find_event(session, sight(), ids(payout)[0])
        assert refused.value.code == "unknown_event"


def test_one_event_is_found_by_its_id() -> None:
    payout = a_history(*STEPS)

    with transaction() as session:
        found = find_event(session, sight(), ids(payout)[1])

    assert (found.payout_id, found.sequence, found.type) == (payout.id, 3, "payout.broadcast")
