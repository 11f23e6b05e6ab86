"""A partner's endpoints: what may be chosen, what is kept secret, and what becomes of what is owed."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select

import payouts.endpoints
from models.audit import AuditLine
from models.database import transaction
from models.endpoint import PRIVATE, SYMMETRIC, Breaker, Endpoint
from models.lifecycle import PayoutStatus
from models.notice import Notice
from models.outbox import Delivery
from models.payout import Payout
from payouts import endpoints as rules
from payouts.addresses import vet
from payouts.claiming import claim
from payouts.endpoint_choices import EVENT_TYPES, Wish, checked
from payouts.notices import ping
from payouts.refused import Refused
from payouts.signing import public_key, public_keys
from tests.factories import a_payout, an_endpoint, an_organisation, get_deliveries, say

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
URL = "http://127.0.0.1:9/hooks?token=planted"


def add(organisation: str = "Acme", *, test_mode: bool = False, **wish: Any) -> rules.Added:
    given: Wish = {"url": vet(URL), **wish}  # type: ignore[typeddict-item]
    owner = an_organisation(organisation)
    with transaction() as session:
        return rules.add(session, owner.id, given, test_mode=test_mode, actor="cli:ada", now=NOW)


def again(endpoint: Endpoint) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint.id)


def change(endpoint: Endpoint, **wish: Any) -> Endpoint:
    with transaction() as session:
        found = rules.find(session, endpoint.id, for_change=True)
        rules.change(session, found, wish, actor="cli:ada", now=NOW + HOUR)  # type: ignore[arg-type]
        return found


def rotate(endpoint: Endpoint, at: datetime = NOW, grace: timedelta = rules.GRACE) -> str:
    with transaction() as session:
        found = rules.find(session, endpoint.id, for_change=True)
        return rules.rotate(session, found, grace=grace, actor="cli:ada", now=at)


def audit_lines() -> list[AuditLine]:
    with transaction() as session:
        return list(session.exec(select(AuditLine).order_by(col(AuditLine.id))))


def code_of(**wish: Any) -> str:
    with pytest.raises(Refused) as refused:
        checked(wish)  # type: ignore[arg-type]
    assert len(str(refused.value)) > 20
    return refused.value.code


# --- added


def test_a_new_endpoint_has_a_secret_that_signs_and_a_key_in_reserve(database: None) -> None:
    added = add()

    endpoint = again(added.endpoint)
    assert endpoint.secrets().live(NOW, SYMMETRIC) == (added.secret,)
    assert len(endpoint.secrets().live(NOW, PRIVATE)) == 1
    assert (endpoint.schemes, endpoint.event_types, endpoint.test_mode) == (["v1"], None, False)
    assert (endpoint.is_enabled, endpoint.breaker, endpoint.failures) == (True, Breaker.CLOSED, 0)
    assert public_keys(endpoint, NOW) == []


def test_what_is_chosen_is_kept_and_headers_are_sealed(database: None) -> None:
    endpoint = again(
        add(
            event_types=["payout.failed", "payout.delivered", "payout.failed"],
            description="Ünal's",
            metadata={"team": "money"},
            headers={"Authorization": "Bearer planted"},
            rate_limit=5,
            retry_schedule=[1, 60],
            signatures=["v1a", "v1"],
        ).endpoint
    )

    assert endpoint.event_types == ["payout.delivered", "payout.failed"]
    assert (endpoint.description, endpoint.labels) == ("Ünal's", {"team": "money"})
    assert (endpoint.rate_limit, endpoint.retry_schedule, endpoint.schemes) == (5, [1, 60], ["v1", "v1a"])
    assert rules.header_names(endpoint) == ["authorization"]
    assert b"planted" not in (endpoint.sealed_headers or b"")
    assert len(public_keys(endpoint, NOW)) == 1


def test_without_a_url_there_is_no_endpoint(database: None) -> None:
    owner = an_organisation()

    with pytest.raises(Refused) as refused, transaction() as session:
        rules.add(session, owner.id, {}, actor="cli:ada", now=NOW)

    assert refused.value.code == "url_missing"


def test_an_organisation_has_only_so_many(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.endpoints, "MOST_ENDPOINTS", 2)
    first = add().endpoint
    add(test_mode=True)

    with pytest.raises(Refused) as refused:
        add()
    add("Somebody else")
    with transaction() as session:
        rules.delete(session, rules.find(session, first.id), actor="cli:ada", now=NOW)

    assert refused.value.code == "too_many_endpoints"
    assert add().endpoint.id


@pytest.mark.parametrize("word", [*EVENT_TYPES])
def test_every_type_may_be_chosen(word: str) -> None:
    assert checked({"event_types": [word]}) == {"event_types": [word]}


@pytest.mark.parametrize("every", [None, ["*"]])
def test_a_star_is_every_type(every: Sequence[str] | None) -> None:
    assert checked({"event_types": every}) == {"event_types": None}


@pytest.mark.parametrize("types", [[], ["payout.done"], ["*", "payout.failed"], ["PAYOUT.FAILED"], ["payout.*"]])
def test_a_type_that_there_is_not_is_refused(types: list[str]) -> None:
    assert code_of(event_types=types) == "event_types_invalid"


@pytest.mark.parametrize(
    "headers",
    [
        {"Webhook-Signature": "v1,forged"},
        {"webhook-id": "evt_1"},
        {"webhook-anything": "x"},
        {"Host": "elsewhere.example"},
        {"Content-Length": "0"},
        {"Content-Type": "text/html"},
        {"Content-Encoding": "gzip"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
        {"Keep-Alive": "1"},
        {"Upgrade": "h2c"},
        {"TE": "trailers"},
        {"Trailer": "x"},
        {"Expect": "100-continue"},
        {"Proxy-Authorization": "x"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"User-Agent": "x"},
        {"": "x"},
        {"a b": "x"},
        {"a:b": "x"},
        {"a\r\nb": "x"},
        {"Ünal": "x"},
        {"a" * 65: "x"},
        {"a": ""},
        {"a": " x"},
        {"a": "x\r\ninjected: y"},
        {"a": "x\0"},
        {"a": "ü"},
        {"a": "x" * 1025},
        {"a": "x", "A": "y"},
        {f"h{n}": "x" for n in range(11)},
        {f"h{n}": "x" * 1000 for n in range(5)},
    ],
)
def test_a_header_that_is_ours_to_set_or_could_break_out_is_refused(headers: dict[str, str]) -> None:
    assert code_of(headers=headers) == "headers_invalid"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"description": "x" * 501}, "description_invalid"),
        ({"description": "\0"}, "description_invalid"),
        ({"metadata": {"": "x"}}, "metadata_invalid"),
        ({"metadata": {"a b": "x"}}, "metadata_invalid"),
        ({"metadata": {"a": "x" * 501}}, "metadata_invalid"),
        ({"metadata": {"a": "\0"}}, "metadata_invalid"),
        ({"metadata": {f"k{n}": "" for n in range(21)}}, "metadata_invalid"),
        ({"rate_limit": 0}, "rate_limit_invalid"),
        ({"rate_limit": 10_001}, "rate_limit_invalid"),
        ({"retry_schedule": []}, "retry_schedule_invalid"),
        ({"retry_schedule": [0]}, "retry_schedule_invalid"),
        ({"retry_schedule": [172_801]}, "retry_schedule_invalid"),
        ({"retry_schedule": [1] * 21}, "retry_schedule_invalid"),
        ({"signatures": []}, "signatures_invalid"),
        ({"signatures": ["v2"]}, "signatures_invalid"),
    ],
)
def test_what_is_beyond_its_limits_is_refused_with_the_limits(wish: dict[str, Any], code: str) -> None:
    assert code_of(**wish) == code


# --- found and changed


def test_nobody_finds_what_is_anothers_of_the_other_mode_or_deleted(database: None) -> None:
    endpoint = add().endpoint
    mine, stranger = an_organisation().id, an_organisation("Somebody else").id

    def code(**whose: Any) -> str:
        with pytest.raises(Refused) as refused, transaction() as session:
            rules.find(session, endpoint.id, **whose)
        return refused.value.code

    with transaction() as session:
        assert rules.find(session, endpoint.id, organisation_id=mine, test_mode=False).id == endpoint.id
    assert code(organisation_id=stranger) == code(organisation_id=mine, test_mode=True) == "unknown_endpoint"

    with transaction() as session:
        rules.delete(session, rules.find(session, endpoint.id), actor="cli:ada", now=NOW)

    assert code() == "unknown_endpoint"


def test_a_change_changes_what_it_names_and_nothing_else(database: None) -> None:
    endpoint = add(rate_limit=5, headers={"a": "b"}, event_types=["payout.failed"]).endpoint

    changed = change(endpoint, rate_limit=None, event_types=["*"])

    assert (changed.rate_limit, changed.event_types, changed.updated_at) == (None, None, NOW + HOUR)
    assert (changed.url, changed.sealed, rules.header_names(changed)) == (endpoint.url, endpoint.sealed, ["a"])
    assert rules.header_names(change(endpoint, headers={})) == []


def test_a_refused_change_changes_nothing(database: None) -> None:
    endpoint = add(rate_limit=5).endpoint

    with pytest.raises(Refused):
        change(endpoint, description="new", rate_limit=-1)

    assert (again(endpoint).description, again(endpoint).rate_limit) == ("", 5)


# --- secrets


def test_after_a_rotation_both_secrets_sign_for_a_day_the_new_one_first(database: None) -> None:
    added = add()

    fresh = rotate(added.endpoint)

    secrets = again(added.endpoint).secrets()
    assert secrets.live(NOW, SYMMETRIC) == (fresh, added.secret)
    assert secrets.live(NOW + 24 * HOUR - timedelta(seconds=1), SYMMETRIC) == (fresh, added.secret)
    assert secrets.live(NOW + 24 * HOUR, SYMMETRIC) == (fresh,)


def test_after_a_leak_the_old_secret_is_cut_at_once(database: None) -> None:
    added = add()
    rotate(added.endpoint)

    fresh = rotate(added.endpoint, grace=timedelta(0))

    assert again(added.endpoint).secrets().live(NOW, SYMMETRIC) == (fresh,)
    assert len(again(added.endpoint).secrets().known) == 2


def test_a_second_rotation_gives_nobody_more_time_than_it_had(database: None) -> None:
    added = add()
    second = rotate(added.endpoint, grace=HOUR)

    third = rotate(added.endpoint, NOW + HOUR / 2, 2 * HOUR)

    secrets = again(added.endpoint).secrets()
    assert secrets.live(NOW + HOUR - timedelta(seconds=1), SYMMETRIC) == (third, second, added.secret)
    assert secrets.live(NOW + HOUR, SYMMETRIC) == (third, second)


def test_the_keys_rotate_with_overlap_and_the_public_document_says_until_when(database: None) -> None:
    endpoint = add(signatures=["v1a"]).endpoint
    (old,) = public_keys(endpoint, NOW)

    rotate(endpoint)

    new, kept = public_keys(again(endpoint), NOW + HOUR)
    assert (kept.text, kept.expires_at, new.expires_at) == (old.text, NOW + 24 * HOUR, None)
    assert new.text == public_key(again(endpoint).secrets().live(NOW, PRIVATE)[0])
    assert public_keys(again(endpoint), NOW + 24 * HOUR) == [new]


def test_only_so_many_secrets_sign_at_a_time(database: None) -> None:
    endpoint = add().endpoint
    for _ in range(rules.MOST_SECRETS - 1):
        rotate(endpoint)

    with pytest.raises(Refused) as refused:
        rotate(endpoint)

    assert refused.value.code == "too_many_secrets"
    assert rotate(endpoint, NOW + 24 * HOUR)
    assert rotate(endpoint, grace=timedelta(0))


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=31)])
def test_a_grace_beyond_its_limits_is_refused(database: None, grace: timedelta) -> None:
    endpoint = add().endpoint

    with pytest.raises(Refused) as refused:
        rotate(endpoint, grace=grace)

    assert refused.value.code == "grace_invalid"


# --- switched and deleted


def test_a_disabled_endpoint_is_owed_nothing_new_and_keeps_what_it_was_owed(database: None) -> None:
    endpoint = add().endpoint
    payout = a_payout()
    with transaction() as session:
        rules.disable(session, rules.find(session, endpoint.id), actor="cli:ada", now=NOW)
    say(payout, PayoutStatus.BROADCAST)

    assert [delivery.state for delivery in get_deliveries(payout)] == ["open"]

    with transaction() as session:
        rules.enable(session, rules.find(session, endpoint.id), actor="cli:ada", now=NOW)
    say(payout, PayoutStatus.DELIVERED)

    assert [delivery.sequence for delivery in get_deliveries(payout)] == [1, 3]


def test_enabling_forgives_all_failures(database: None) -> None:
    endpoint = an_endpoint(
        is_enabled=False,
        disabled_at=NOW,
        disabled_reason="failing",
        breaker=Breaker.OPEN,
        failures=99,
        openings=7,
        failing_since=NOW,
        not_before=NOW + HOUR,
    )

    with transaction() as session:
        rules.enable(session, rules.find(session, endpoint.id), actor="cli:ada", now=NOW)

    found = again(endpoint)
    assert (found.is_enabled, found.disabled_at, found.disabled_reason) == (True, None, None)
    assert (found.breaker, found.failures, found.openings) == ("closed", 0, 0)
    assert (found.failing_since, found.not_before) == (None, None)


def test_a_deleted_endpoint_knows_no_secret_and_is_never_attempted(database: None) -> None:
    endpoint = add(headers={"a": "b"}).endpoint
    payout = a_payout()

    with transaction() as session:
        rules.delete(session, rules.find(session, endpoint.id), actor="cli:ada", now=NOW)

    found = again(endpoint)
    assert (found.secrets().known, found.sealed_headers, found.is_enabled) == ((), None, False)
    assert _claimable(payout) == []


def _claimable(payout: Payout) -> list[str]:
    ids = [delivery.id for delivery in get_deliveries(payout)]
    with transaction() as session:
        return [one.id for one in claim(session, ids, datetime.now(UTC) + HOUR).claimed]


# --- live and test apart


def test_live_endpoints_hear_of_live_payouts_and_test_endpoints_of_test_payouts(database: None) -> None:
    live, test = add().endpoint, add(test_mode=True).endpoint
    payout = a_payout()
    with transaction() as session:
        session.connection().execute(text("UPDATE payout SET test_mode = true"))
    say(payout, PayoutStatus.DELIVERED)

    assert [delivery.endpoint_id for delivery in get_deliveries(payout)] == [live.id, test.id]


# --- pings


def test_a_ping_goes_out_whatever_the_endpoint_subscribes_to(database: None) -> None:
    endpoint = add(event_types=["payout.failed"], description="ours").endpoint

    with transaction() as session:
        told = ping(session, again(endpoint), NOW)

    with transaction() as session:
        (claimed,) = claim(session, told.deliveries, NOW).claimed
        notice = session.get_one(Notice, told.id)
        delivery = session.get_one(Delivery, told.deliveries[0])
    body = json.loads(claimed.payload)
    assert (body["type"], body["timestamp"]) == ("endpoint.ping", "2026-05-12T09:15:00Z")
    assert body["data"] == {"id": endpoint.id, "description": "ours", "test_mode": False}
    assert (claimed.event_id, claimed.payout_id, claimed.payload) == (notice.id, None, notice.payload)
    assert (delivery.payout_id, notice.organisation_id) == (None, endpoint.organisation_id)


def test_pings_wait_for_nothing_and_nothing_waits_for_them(database: None) -> None:
    endpoint = add().endpoint
    payout = a_payout()
    with transaction() as session:
        first, second = (ping(session, again(endpoint), NOW) for _ in range(2))

    with transaction() as session:
        claimed = claim(session, [*first.deliveries, *second.deliveries], NOW).claimed

    assert len(claimed) == 2
    assert len(_claimable(payout)) == 1


def test_a_disabled_endpoint_is_not_pinged(database: None) -> None:
    endpoint = an_endpoint(is_enabled=False)

    with pytest.raises(Refused) as refused, transaction() as session:
        ping(session, endpoint, NOW)

    assert refused.value.code == "endpoint_disabled"


# --- the audit trail


def test_every_decision_is_a_line_without_secrets_urls_or_header_values(database: None) -> None:
    added = add(headers={"authorization": "planted"})
    change(added.endpoint, url=vet("http://127.0.0.1:9/other?token=planted"), rate_limit=7)
    fresh = rotate(added.endpoint)
    with transaction() as session:
        endpoint = rules.find(session, added.endpoint.id)
        rules.disable(session, endpoint, actor="operator:bob", now=NOW)
        rules.enable(session, endpoint, actor="operator:bob", now=NOW)
        rules.delete(session, endpoint, actor="operator:bob", now=NOW)

    lines = [line for line in audit_lines() if line.entity == added.endpoint.id]
    told = "".join(repr((line.before, line.after)) for line in lines)
    assert [line.action for line in lines] == [
        *("endpoint.added", "endpoint.changed", "endpoint.rotated"),
        *("endpoint.disabled", "endpoint.enabled", "endpoint.deleted"),
    ]
    assert [line.actor for line in lines] == ["cli:ada"] * 3 + ["operator:bob"] * 3
    assert not any(secret in told for secret in ("planted", added.secret, fresh, "whsk_", "token", "/hooks"))
    assert "'rate_limit': 7" in told


def test_a_contact_is_an_address_and_stays_out_of_the_trail(database: None) -> None:
    owner = an_organisation()

    def set_contact(email: str) -> str | None:
        with transaction() as session:
            organisation = session.get_one(type(owner), owner.id)
            rules.set_contact(session, organisation, email, actor="cli:ada", now=NOW)
            return organisation.contact_email

    assert set_contact("ops@partner.example.com") == "ops@partner.example.com"
    with pytest.raises(Refused) as refused:
        set_contact("nobody")
    assert set_contact("") is None
    assert refused.value.code == "email_invalid"
    assert "partner.example" not in repr([(line.before, line.after) for line in audit_lines()])
