"""What holds for every request at the partners' door."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from models.api_key import Scope, new_key
from models.database import transaction
from payouts.keys import list_keys, revoke, rotate
from receiver.partners import limits
from tests.concurrency import wait_until
from tests.factories import a_payout
from tests.receiver.partners.partner import Partner, a_key

NOBODY = "pay_" + "0" * 28

APartner = Callable[..., Partner]


@pytest.mark.parametrize("shown", ["Bearer {}", "bearer   {}", "{}", "BEARER {} "])
def test_a_key_is_shown_as_bearer_or_bare(partner: Partner, shown: str) -> None:
    assert partner.get("/v1/payouts", authorization=shown.format(partner.key)).status == 200


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Basic c2tfbGl2ZV8=", "sk_live_x", "Bearer sk_live_" + "é" * 38, "x" * 5000]
)
def test_what_is_no_key_opens_nothing(partner: Partner, shown: str) -> None:
    answer = partner.get("/v1/payouts", authorization=shown)

    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_well_formed_key_that_nobody_minted_opens_nothing(a_partner: APartner) -> None:
    partner = a_partner()
    partner.key = new_key(test_mode=False)

    assert partner.get("/v1/payouts").code == "invalid_api_key"


def test_a_key_with_one_letter_changed_opens_nothing(partner: Partner) -> None:
    partner.key = partner.key[:-1] + ("a" if partner.key[-1] != "a" else "b")

    assert partner.get("/v1/payouts").code == "invalid_api_key"


def test_a_revoked_key_opens_nothing_from_then_on(a_partner: APartner) -> None:
    minted, partner = a_key(), a_partner()
    partner.key = minted.key
    assert partner.get("/v1/payouts").status == 200

    with transaction() as session:
        revoke(session, minted.row.id, actor="test", now=datetime.now(UTC))

    assert partner.get("/v1/payouts").code == "invalid_api_key"


def test_a_rotated_key_works_through_its_grace_and_no_longer(a_partner: APartner) -> None:
    graceful, hasty, partner = a_key(), a_key(), a_partner()
    with transaction() as session:
        rotate(session, graceful.row.id, timedelta(hours=1), actor="test", now=datetime.now(UTC))
        new = rotate(session, hasty.row.id, timedelta(0), actor="test", now=datetime.now(UTC))

    answers = {}
    for name, key in {"graceful": graceful.key, "hasty": hasty.key, "new": new.key}.items():
        partner.key = key
        answers[name] = partner.get("/v1/payouts").status

    assert answers == {"graceful": 200, "hasty": 401, "new": 200}


def test_an_expired_key_opens_nothing(a_partner: APartner, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = a_partner(expires_in=timedelta(milliseconds=1))

    wait_until(lambda: partner.get("/v1/payouts").status == 401)


def test_a_key_without_the_scope_is_told_which_one_it_needs(a_partner: APartner) -> None:
    partner = a_partner(scopes=[Scope.WEBHOOKS_WRITE])

    answer = partner.get("/v1/payouts")

    assert (answer.status, answer.code) == (403, "missing_scope")
    assert "payouts.read" in answer.json["detail"]


def test_the_use_of_a_key_is_noted(partner: Partner) -> None:
    partner.get("/v1/payouts")

    def last_used() -> bool:
        with transaction() as session:
            return list_keys(session)[0][0].last_used_at is not None

    wait_until(last_used)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/payouts/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/payouts", 405, "method_not_allowed"),
        ("GET", f"/v1/payouts/{NOBODY}", 404, "unknown_payout"),
        ("GET", "/v1/payouts/a%00b", 404, "not_found"),
        ("GET", "/v1/payouts/%F0%9F%92%A9", 404, "not_found"),
        ("GET", "/v1/payouts/" + "a" * 65, 404, "not_found"),
        ("GET", "/v1/payouts?limit=0", 422, "invalid_request"),
        ("GET", "/v1/payouts?limit=101", 422, "invalid_request"),
        ("GET", "/v1/payouts?limit=ten", 422, "invalid_request"),
        ("GET", "/v1/payouts?limit=1&limit=2", 422, "invalid_request"),
        ("GET", "/v1/payouts?stauts=failed", 422, "invalid_request"),
        ("GET", "/v1/payouts?after=%00", 422, "invalid_request"),
        ("GET", "/v1/payouts?after=pay_1", 422, "invalid_request"),
    ],
)
def test_every_refusal_is_a_problem_document_with_a_code_and_a_request_id(
    partner: Partner, method: str, path: str, status: int, code: str
) -> None:
    answer = partner.ask(method, path)

    assert (answer.status, answer.code) == (status, code)
    assert re.fullmatch("req_[0-9a-f]{28}", answer.headers["request-id"])


def test_a_405_names_every_method_there_is(partner: Partner) -> None:
    assert "GET" in partner.ask("PATCH", "/v1/payouts").headers["allow"].split(", ")


def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    a_partner: APartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "quota", lambda: 3)
    hasty, calm = a_partner(), a_partner()

    answers = [hasty.get("/v1/payouts") for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=10'
    assert answers[3].code == "too_many_requests"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 4
    assert calm.get("/v1/payouts").status == 200


def test_what_another_organisation_or_the_other_mode_owns_is_unknown(a_partner: APartner) -> None:
    live, tested = a_payout(), a_payout(test_mode=True)
    acme, acme_test, other = a_partner("Acme"), a_partner("Acme", test_mode=True), a_partner("Other")

    seen = {
        (name, payout.id): (asks.get(f"/v1/payouts/{payout.id}").status, len(asks.get("/v1/payouts").json["data"]))
        for name, asks in {"live": acme, "test": acme_test, "other": other}.items()
        for payout in (live, tested)
    }

    assert seen == {
        ("live", live.id): (200, 1),
        ("live", tested.id): (404, 1),
        ("test", live.id): (404, 1),
        ("test", tested.id): (200, 1),
        ("other", live.id): (404, 0),
        ("other", tested.id): (404, 0),
    }


def test_pages_do_not_shift_when_a_payout_is_added_meanwhile(partner: Partner) -> None:
    payouts = [a_payout().id for _ in range(5)]
    first = partner.get("/v1/payouts?limit=2").json
    a_payout()

    second = partner.get(f"/v1/payouts?limit=2&after={first['next_cursor']}").json
    third = partner.get(f"/v1/payouts?limit=2&after={second['next_cursor']}").json

    read = [payout["id"] for page in (first, second, third) for payout in page["data"]]
    assert read == payouts[::-1]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert third["next_cursor"] is None
