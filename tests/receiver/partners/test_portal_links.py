"""/v1/portal-links: a link to the page, made and ended by key."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from models.api_key import Scope
from models.database import transaction
from payouts.create import Refused
from payouts.portal import open_link
from settings import settings
from tests.receiver.partners.partner import Partner

APartner = Callable[..., Partner]
PATH = "/v1/portal-links"


def opens(url: str) -> tuple[str, bool]:
    """Open a link; return whose side it has led to."""
    with transaction() as session:
        visit = open_link(session, url.rpartition("/")[2], datetime.now(UTC))
    return visit.organisation, visit.test_mode


@pytest.mark.parametrize("test_mode", [False, True])
def test_a_link_opens_the_page_of_the_keys_own_side(a_partner: APartner, *, test_mode: bool) -> None:
    answer = a_partner("Globex", test_mode=test_mode).post(PATH, {})

    assert (answer.status, answer.json["test_mode"]) == (201, test_mode)
    assert answer.json["url"].startswith(f"{settings().public_url}/portal/enter/")
    expires_in = datetime.fromisoformat(answer.json["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < expires_in < timedelta(minutes=61)
    assert opens(answer.json["url"]) == ("Globex", test_mode)


def test_whoever_may_not_look_makes_no_link(a_partner: APartner) -> None:
    for scopes in ([Scope.WEBHOOKS_READ], [Scope.WEBHOOKS_WRITE], [Scope.PAYOUTS_READ]):
        assert a_partner(scopes=scopes).post(PATH, {}).code == "missing_scope"


@pytest.mark.parametrize("minutes", [0, 1441, "60"])
def test_its_time_is_bounded(partner: Partner, minutes: object) -> None:
    assert partner.post(PATH, {"minutes": minutes}).pointers == ["#/minutes"]


def test_it_is_ended_by_its_own_side_alone(a_partner: APartner) -> None:
    partner = a_partner()
    link = partner.post(PATH, {}).json
    one = f"{PATH}/{link['id']}"

    assert a_partner("Globex").ask("DELETE", one).code == "unknown_link"
    assert a_partner(test_mode=True).ask("DELETE", one).code == "unknown_link"
    assert [partner.ask("DELETE", one).status for _ in range(2)] == [204, 204]
    with pytest.raises(Refused, match="has expired; ask for a new one"):
        opens(link["url"])
