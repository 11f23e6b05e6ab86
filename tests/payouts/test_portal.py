"""Links to the partner's page: opened once, in time, by whoever has the token, and over when they are ended."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.portal import PortalLink
from payouts import keys
from payouts.create import Refused
from payouts.portal import VISIT, Minted, Visit, can_be_opened, end, find_visit, list_links, mint, open_link
from payouts.sight import EVERYTHING, Sight
from tests.concurrency import at_once
from tests.factories import an_organisation
from tests.receiver.partners.partner import a_key

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_link(*, test_mode: bool = False, key_id: str | None = None, lifetime: timedelta = HOUR) -> Minted:
    owner = an_organisation()
    with transaction() as session:
        return mint(session, owner.id, test_mode=test_mode, lifetime=lifetime, key_id=key_id, actor="cli:ada", now=NOW)


def opened(token: str, now: datetime = NOW) -> Visit:
    with transaction() as session:
        return open_link(session, token, now)


def refusal(token: str, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as refused:
        opened(token, now)
    return refused.value.code


def visit(link_id: str, now: datetime = NOW) -> Visit | None:
    with transaction() as session:
        return find_visit(session, link_id, now)


def test_a_link_leads_to_a_visit_of_its_organisation_and_mode() -> None:
    minted = a_link(test_mode=True)

    entered = opened(minted.token, NOW + HOUR / 2)

    assert (entered.organisation, entered.test_mode) == ("Acme", True)
    assert entered.until == NOW + HOUR / 2 + VISIT
    assert entered.sight == Sight(an_organisation().id, test_mode=True)
    assert visit(minted.link.id) == entered


def test_it_opens_once() -> None:
    minted = a_link()
    opened(minted.token)

    assert refusal(minted.token) == "link_over"


def test_of_many_who_open_it_at_the_same_moment_one_is_let_in() -> None:
    minted = a_link()

    def attempt() -> bool:
        try:
            opened(minted.token)
        except Refused:
            return False
        return True

    assert sorted(at_once(*[attempt] * 4)) == [False, False, False, True]


def test_looking_whether_it_can_be_opened_does_not_open_it() -> None:
    minted = a_link()

    def fresh(token: str, now: datetime = NOW) -> bool:
        with transaction() as session:
            return can_be_opened(session, token, now)

    assert [fresh(minted.token), fresh(minted.token), fresh(minted.token, NOW + HOUR), fresh("another")] == [
        True,
        True,
        False,
        False,
    ]
    opened(minted.token)
    assert not fresh(minted.token)


@pytest.mark.parametrize("token", ["", "another", "\0", "é", "\udcff"])
def test_what_is_no_token_opens_nothing(token: str) -> None:
    a_link()

    assert refusal(token) == "link_over"


def test_after_its_time_it_opens_nothing_and_a_visit_ends_with_its_hours() -> None:
    late, in_time = a_link(), a_link()
    opened(in_time.token)

    assert refusal(late.token, NOW + HOUR) == "link_over"
    assert visit(in_time.link.id, NOW + VISIT - HOUR) is not None
    assert visit(in_time.link.id, NOW + VISIT) is None


def test_ended_it_opens_nothing_and_ends_the_visit() -> None:
    fresh, visited = a_link(), a_link()
    opened(visited.token)

    for link in (fresh.link, visited.link):
        with transaction() as session:
            end(session, EVERYTHING, link.id, actor="cli:ada", now=NOW)

    assert refusal(fresh.token) == "link_over"
    assert visit(visited.link.id) is None


def test_a_link_that_was_never_opened_is_no_visit() -> None:
    assert visit(a_link().link.id) is None
    assert visit("lnk_nobody's") is visit("\0") is None


def test_it_ends_with_the_key_that_made_it() -> None:
    minted_key = a_key()
    fresh, visited = (a_link(key_id=minted_key.row.id) for _ in range(2))
    opened(visited.token)
    with transaction() as session:
        keys.revoke(session, minted_key.row.id, actor="cli:ada", now=NOW)

    assert refusal(fresh.token) == "link_over"
    assert visit(visited.link.id) is None


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=59), timedelta(hours=25), -HOUR])
def test_a_link_lives_for_a_minute_at_least_and_a_day_at_most(lifetime: timedelta) -> None:
    with pytest.raises(Refused) as refused:
        a_link(lifetime=lifetime)
    assert refused.value.code == "lifetime_invalid"


def test_another_organisations_link_cannot_be_ended_or_seen() -> None:
    minted = a_link()
    stranger = Sight(an_organisation("Globex").id, test_mode=False)

    for sight in (stranger, Sight(an_organisation().id, test_mode=True)):
        with transaction() as session, pytest.raises(Refused) as refused:
            end(session, sight, minted.link.id, actor="x", now=NOW)
        assert refused.value.code == "unknown_link"
        with transaction() as session:
            assert list_links(session, sight) == []
    with transaction() as session:
        assert [link.id for link in list_links(session, EVERYTHING)] == [minted.link.id]


def test_the_token_is_stored_nowhere_and_who_did_what_is_on_record() -> None:
    minted = a_link()
    opened(minted.token)

    with transaction() as session:
        link = session.exec(select(PortalLink)).one()
        lines = session.exec(select(AuditLine).order_by("id")).all()
    assert minted.token not in repr(link.model_dump()) + repr([line.model_dump() for line in lines]) + repr(minted)
    assert [(line.actor, line.action) for line in lines] == [
        ("cli:ada", "portal_link.minted"),
        (f"portal:{minted.link.id}", "portal_link.opened"),
    ]
