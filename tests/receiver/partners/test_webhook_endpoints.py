"""/v1/webhook-endpoints: from the first request to a verified webhook, and nothing of anybody else's."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select
from standardwebhooks import Webhook

from models.api_key import Scope
from models.audit import AuditLine
from models.database import engine, transaction
from models.endpoint import Endpoint
from models.outbox import Delivery
from models.remembered import RememberedAnswer
from payouts.endpoint_choices import EVENT_TYPES
from tests.concurrency import wait_until
from tests.factories import a_payout, an_endpoint
from tests.receiver.partners.partner import Answer, Partner
from tests.workers.partners import a_partner as a_listener
from workers.broker import broker
from workers.deliver import deliver

APartner = Callable[..., Partner]
PATH = "/v1/webhook-endpoints"
URL = "http://127.0.0.1:9/hooks?token=t0k3n"


def add(partner: Partner, **wish: Any) -> dict[str, Any]:
    answer = partner.post(PATH, {"url": URL, **wish})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def patch(partner: Partner, endpoint_id: str, **changes: Any) -> Answer:
    return partner.ask("PATCH", f"{PATH}/{endpoint_id}", json.dumps(changes).encode(), content_type="application/json")


def row(endpoint_id: str) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint_id)


def test_an_endpoint_is_added_with_what_was_asked_for_and_the_usual_for_the_rest(partner: Partner) -> None:
    answer = partner.post(PATH, {"url": URL})

    found = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"{PATH}/{found['id']}"
    expected = {"url": URL, "event_types": ["*"], "description": "", "metadata": {}, "header_names": []}
    usual = {"rate_limit": None, "retry_schedule": None, "signatures": ["v1"], "public_keys": [], "is_enabled": True}
    assert found.items() >= {**expected, **usual, "test_mode": False}.items()
    assert found["health"] == {"breaker": "closed", "failures": 0, "failing_since": None, "not_before": None}


def test_text_that_cannot_be_stored_is_refused_whatever_else_is_left_to_us(partner: Partner) -> None:
    answer = partner.post(PATH, {"url": URL, "description": "a\0b"})

    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json["errors"]] == ["#/description"]


def test_everything_that_may_be_chosen_is_kept(partner: Partner) -> None:
    chosen = {
        "event_types": ["payout.delivered", "payout.failed"],
        "description": "Zürich",
        "metadata": {"team": "payments"},
        "rate_limit": 20,
        "retry_schedule": [1, 60],
        "signatures": ["v1", "v1a"],
    }

    added = add(partner, **chosen, headers={"X-Token": "planted"})
    found = partner.get(f"{PATH}/{added['id']}").json

    assert found.items() >= chosen.items()
    assert found["header_names"] == ["x-token"]
    assert found["public_keys"][0]["key"].startswith("whpk_")


def test_the_secret_is_shown_once_and_the_values_of_headers_never(partner: Partner) -> None:
    added = add(partner, headers={"x-token": "planted"})

    later = partner.get(PATH).body + partner.get(f"{PATH}/{added['id']}").body + patch(partner, added["id"]).body

    assert added["secret"].startswith("whsec_")
    assert added["secret"].encode() not in later
    assert b"planted" not in later


def test_the_same_request_under_one_idempotency_key_adds_one_endpoint_and_tells_the_secret_again(
    partner: Partner,
) -> None:
    first, second = (partner.post(PATH, {"url": URL}, idempotency_key="a") for _ in range(2))

    assert first.json == second.json
    assert len(partner.get(PATH).json["data"]) == 1
    with transaction() as session:
        remembered = session.exec(select(RememberedAnswer)).one()
    assert first.json["secret"].encode() not in remembered.sealed


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({}, "#/url"),
        ({"url": 7}, "#/url"),
        ({"url": URL, "event_types": []}, "#/event_types"),
        ({"url": URL, "event_types": ["payout.imagined"]}, "#/event_types/0"),
        ({"url": URL, "rate_limit": 0}, "#/rate_limit"),
        ({"url": URL, "retry_schedule": [0]}, "#/retry_schedule/0"),
        ({"url": URL, "signatures": ["v3"]}, "#/signatures/0"),
        ({"url": URL, "secret": "mine"}, "#/secret"),
    ],
)
def test_a_wish_that_does_not_validate_is_refused_with_what_is_wrong(
    partner: Partner, wish: dict[str, Any], pointer: str
) -> None:
    assert pointer in partner.post(PATH, wish).pointers
    assert partner.get(PATH).json["data"] == []


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"url": "http://169.254.169.254/latest"}, "url_not_https"),
        ({"url": "https://169.254.169.254/latest"}, "url_not_public"),
        ({"url": "https://ada:secret@partner.example/hooks"}, "url_has_credentials"),
        ({"url": "https://1.1.1.1:22/"}, "url_port_forbidden"),
        ({"url": "not a url"}, "url_not_https"),
        ({"event_types": ["*", "payout.failed"]}, "event_types_invalid"),
        ({"headers": {"Webhook-Signature": "v1,mine"}}, "headers_invalid"),
        ({"headers": {"x-token": "two\r\nlines"}}, "headers_invalid"),
        ({"metadata": {"a name with spaces": ""}}, "metadata_invalid"),
    ],
)
def test_what_a_rule_forbids_is_refused_by_its_code(partner: Partner, wish: dict[str, Any], code: str) -> None:
    endpoint = add(partner)

    assert partner.post(PATH, {"url": URL, **wish}).code == code
    changed = patch(partner, endpoint["id"], **wish)
    assert (changed.status, changed.code) == (422, code)
    assert len(partner.get(PATH).json["data"]) == 1


def test_the_resolver_is_asked_only_for_somebody_who_may_add_endpoints(
    partner: Partner, a_partner: APartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("payouts.addresses._resolve", lambda host, _port: asked.append(host) or ["1.1.1.1"])
    wish = {"url": "https://partner.example/hooks"}
    stranger = Partner(partner.port, partner.key[:-1] + ("a" if partner.key[-1] != "a" else "b"))

    assert stranger.post(PATH, wish).code == "invalid_api_key"
    assert a_partner(scopes=[Scope.WEBHOOKS_READ]).post(PATH, wish).code == "missing_scope"
    assert asked == []
    assert partner.post(PATH, wish).status == 201
    assert asked == ["partner.example"]


def test_nobody_waits_for_the_resolver_inside_a_transaction(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    open_: list[int] = []

    def resolve(_host: str, _port: int) -> list[str]:
        open_.append(engine().pool.checkedout())  # type: ignore[attr-defined]
        return ["1.1.1.1"]

    monkeypatch.setattr("payouts.addresses._resolve", resolve)

    assert partner.post(PATH, {"url": "https://partner.example/hooks"}).status == 201
    assert open_ == [0]


def test_a_change_changes_what_it_names_and_null_takes_a_limit_away(partner: Partner) -> None:
    endpoint = add(partner, description="old", rate_limit=5, retry_schedule=[1], event_types=["payout.failed"])

    changed = patch(partner, endpoint["id"], rate_limit=None, event_types=["*"], url="http://127.0.0.1:9/new")

    assert changed.status == 200
    told = {"description": "old", "rate_limit": None, "retry_schedule": [1], "event_types": ["*"]}
    assert changed.json.items() >= {**told, "url": "http://127.0.0.1:9/new"}.items()
    assert partner.get(f"{PATH}/{endpoint['id']}").json == changed.json


def test_disabling_enabling_and_deleting(partner: Partner) -> None:
    endpoint_id = add(partner)["id"]
    one = f"{PATH}/{endpoint_id}"

    disabled = partner.post(f"{one}/disable", b"")
    assert (disabled.json["is_enabled"], disabled.json["disabled_reason"]) == (False, None)
    assert partner.post(f"{one}/ping", b"").code == "endpoint_disabled"
    assert partner.post(f"{one}/enable", b"").json["is_enabled"] is True
    assert partner.ask("DELETE", one).status == 204
    assert partner.get(one).code == partner.ask("DELETE", one).code == "unknown_endpoint"
    assert partner.get(PATH).json["data"] == []


def test_a_rotated_secret_signs_beside_the_old_one_for_a_day_or_for_as_long_as_asked(partner: Partner) -> None:
    added = add(partner)

    rotated = partner.post(f"{PATH}/{added['id']}/rotate-secret", {})

    now = datetime.now(UTC)
    assert rotated.status == 200
    until = datetime.fromisoformat(rotated.json["old_secrets_until"])
    assert timedelta(hours=23.9) < until - now < timedelta(hours=24.1)
    assert row(added["id"]).secrets().live(now, "whsec_") == (rotated.json["secret"], added["secret"])
    leaked = partner.post(f"{PATH}/{added['id']}/rotate-secret", {"keep_old_hours": 0})
    assert row(added["id"]).secrets().live(now + timedelta(seconds=1), "whsec_") == (leaked.json["secret"],)


def test_a_ping_reaches_the_endpoint_signed_and_its_result_is_found_where_the_answer_says(partner: Partner) -> None:
    broker.flush_all()
    with a_listener() as listener:
        added = add(partner, url=f"{listener.url}/hooks", event_types=["payout.failed"], headers={"x-token": "t0k3n"})

        answer = partner.post(f"{PATH}/{added['id']}/ping", b"")
        assert broker.do_qsize("deliver") == 1
        deliver([answer.json["id"]])
        wait_until(lambda: partner.get(answer.headers["location"]).json["state"] == "delivered")

    assert (answer.status, answer.json["state"], answer.json["event_type"]) == (202, "open", "endpoint.ping")
    (got,) = listener.got
    body = Webhook(added["secret"]).verify(got.body, dict(got.headers))
    assert (body["type"], body["data"]["id"]) == ("endpoint.ping", added["id"])
    assert got.headers["x-token"] == "t0k3n"
    shown = partner.get(answer.headers["location"]).json
    assert [attempt["status_code"] for attempt in shown["tried"]] == [200]


def test_an_added_endpoint_hears_of_the_payouts_of_its_own_mode(a_partner: APartner) -> None:
    live, test = (add(a_partner(test_mode=mode)) for mode in (False, True))

    a_payout()

    with transaction() as session:
        owed = session.exec(select(Delivery.endpoint_id)).all()
    assert (live["test_mode"], test["test_mode"]) == (False, True)
    assert list(owed) == [live["id"]]


def test_pages_follow_each_other(partner: Partner) -> None:
    added = [add(partner)["id"] for _ in range(5)]

    first = partner.get(f"{PATH}?limit=3").json
    second = partner.get(f"{PATH}?limit=3&after={first['next_cursor']}").json

    assert [one["id"] for one in first["data"] + second["data"]] == sorted(added, reverse=True)
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)


def test_who_changed_what_is_on_record_without_urls_and_secrets(partner: Partner) -> None:
    added = add(partner, headers={"x-token": "planted"})
    patch(partner, added["id"], description="new")
    partner.post(f"{PATH}/{added['id']}/rotate-secret", {})

    with transaction() as session:
        lines = session.exec(select(AuditLine).where(AuditLine.entity == added["id"]).order_by(col(AuditLine.id))).all()
    assert [line.action for line in lines] == ["endpoint.added", "endpoint.changed", "endpoint.rotated"]
    assert all(line.actor.startswith("key:") for line in lines)
    told = json.dumps([line.model_dump(mode="json") for line in lines])
    assert not any(hidden in told for hidden in ("planted", "t0k3n", added["secret"]))


@pytest.mark.parametrize("scopes", [[Scope.PAYOUTS_READ, Scope.PAYOUTS_WRITE], [Scope.WEBHOOKS_WRITE]])
def test_looking_needs_its_own_scope(a_partner: APartner, scopes: list[Scope]) -> None:
    partner = a_partner(scopes=scopes)

    for path in (PATH, f"{PATH}/{an_endpoint().id}", "/v1/events", "/v1/deliveries", "/v1/recoveries"):
        assert partner.get(path).code == "missing_scope"


def test_every_type_that_is_sent_can_be_subscribed_to(partner: Partner) -> None:
    assert add(partner, event_types=list(EVENT_TYPES))["event_types"] == list(EVENT_TYPES)
