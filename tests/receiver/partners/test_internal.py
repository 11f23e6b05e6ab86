"""The internal API: six guards in their order, and the same answer however often and at once it is asked."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlmodel import func, select

from models.audit import AuditLine
from models.database import transaction
from models.payout import Payout
from models.switch import SwitchScope
from payouts.switches import throw
from settings import settings
from tests.concurrency import at_once
from tests.factories import an_integration, an_organisation, get_payout
from tests.receiver.doors import Door
from tests.receiver.partners.partner import Answer, Partner
from workers.broker import broker

PATH = "/integrations/payments/create-payout"
SECRET = "an-internal-secret-for-tests"
NEXT_SECRET = "the-next-internal-secret-for-tests"
FIELDS = {"gateway": "main", "tx_id": "tx-1", "attempt": 1, "amount": "250.00", "currency": "EUR"}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RATCHET_INTERNAL_SECRETS", f"{NEXT_SECRET},{SECRET}")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def caller(partners_door: Door, database: None) -> Partner:
    broker.flush_all()
    return Partner(partners_door.port, "", {"authorization": ""})


def _post(caller: Partner, *, secret: str = SECRET, **changes: Any) -> Answer:
    body = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    return caller.post(PATH, body, x_internal_secret=secret)


def _number(table: type) -> int:
    with transaction() as session:
        return session.exec(select(func.count()).select_from(table)).one()


GUARDS = [
    ("secret", 403, "invalid_internal_secret"),
    ("fields", 400, "invalid_fields"),
    ("active", 409, "integration_inactive"),
    ("enabled", 409, "payouts_disabled"),
    ("supported", 409, "payouts_unsupported"),
    ("verifiable", 409, "webhook_secret_missing"),
]


@pytest.mark.parametrize("holds", list(itertools.product([True, False], repeat=len(GUARDS))))
def test_of_six_guards_the_first_that_fails_answers(caller: Partner, holds: tuple[bool, ...]) -> None:
    secret, fields, active, enabled, supported, verifiable = holds
    an_integration(
        "bridgerpay" if supported else "stripe",
        slug="main",
        is_active=active,
        payouts_enabled=enabled,
        webhook_secrets=("a-webhook-secret",) if verifiable else (),
    )

    answer = _post(caller, secret=SECRET if secret else "wrong", amount="250.00" if fields else "250,00")

    failing = [guard for guard, held in zip(GUARDS, holds, strict=True) if not held]
    if failing:
        _, status, code = failing[0]
        assert (answer.status, answer.code) == (status, code)
        assert _number(Payout) == _number(AuditLine) == 0
    else:
        assert answer.status == 200
        assert _number(Payout) == _number(AuditLine) == 1


def test_a_payout_is_created_audited_and_queued(caller: Partner) -> None:
    an_integration(slug="main")

    answer = _post(caller, details={"iban": "DE02120300000000202051"}, description="May run")

    assert answer.status == 200
    payout = get_payout(answer.json["payout_reference"])
    assert answer.json == {
        "payout_reference": payout.id,
        "status": "pending",
        "gateway_payload": {
            "integration": "main",
            "order_key": "tx-1:1",
            "amount": "250.00",
            "currency": "EUR",
            "description": "May run",
            "details": ["iban"],
        },
    }
    assert (payout.amount_minor, payout.currency, payout.order_key) == (25_000, "EUR", "tx-1:1")
    with transaction() as session:
        line = session.exec(select(AuditLine)).one()
    assert (line.actor, line.entity, line.request_id) == ("internal", payout.id, answer.headers["request-id"])
    assert broker.client.llen("ratchet:submit") == 1


def test_asking_again_gives_the_same_bytes_and_nothing_more(caller: Partner) -> None:
    an_integration(slug="main")

    first, again = _post(caller), _post(caller)

    assert again.body == first.body
    assert _number(Payout) == _number(AuditLine) == 1
    assert broker.client.llen("ratchet:submit") == 1


def test_twins_at_once_are_one_payout_and_one_answer(caller: Partner) -> None:
    an_integration(slug="main")

    answers = at_once(*[lambda: _post(caller)] * 10)

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert _number(Payout) == _number(AuditLine) == 1


def test_another_body_for_the_same_attempt_is_a_conflict_and_its_spelling_is_not(caller: Partner) -> None:
    an_integration(slug="main")
    first = _post(caller)
    turned = json.dumps(dict(reversed(FIELDS.items())), indent=3).encode()

    assert caller.post(PATH, turned, x_internal_secret=SECRET).body == first.body
    assert _post(caller, amount="250.0").body == first.body
    conflict = _post(caller, amount="250.01")
    assert (conflict.status, conflict.code) == (409, "idempotency_conflict")


def test_another_attempt_waits_for_the_first(caller: Partner) -> None:
    an_integration(slug="main")
    _post(caller)

    answer = _post(caller, attempt=2)

    assert (answer.status, answer.code) == (409, "previous_attempt_open")


def test_both_secrets_open_while_they_are_rotated(caller: Partner) -> None:
    an_integration(slug="main")

    assert _post(caller, secret=SECRET).status == 200
    assert _post(caller, secret=NEXT_SECRET).status == 200


@pytest.mark.parametrize("secret", ["", SECRET[:-1], SECRET + "x", f"{NEXT_SECRET},{SECRET}", "ünï"])
def test_nothing_else_opens(caller: Partner, secret: str) -> None:
    an_integration(slug="main")

    assert _post(caller, secret=secret).code == "invalid_internal_secret"


def test_an_installation_without_a_secret_lets_nobody_in(caller: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    an_integration(slug="main")
    monkeypatch.delenv("RATCHET_INTERNAL_SECRETS")
    settings.cache_clear()

    assert [_post(caller, secret=secret).code for secret in ("", SECRET)] == ["invalid_internal_secret"] * 2


def test_a_partners_key_opens_nothing_here(caller: Partner, partner: Partner) -> None:
    an_integration(slug="main")

    answer = partner.post(PATH, FIELDS)

    assert (answer.status, answer.code) == (403, "invalid_internal_secret")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"gateway": None}, "#/gateway"),
        ({"gateway": "Not A Slug"}, "#/gateway"),
        ({"tx_id": ""}, "#/tx_id"),
        ({"tx_id": "a:b"}, "#/tx_id"),
        ({"tx_id": "x" * 65}, "#/tx_id"),
        ({"attempt": 0}, "#/attempt"),
        ({"attempt": "1"}, "#/attempt"),
        ({"attempt": 1.0}, "#/attempt"),
        ({"attempt": True}, "#/attempt"),
        ({"amount": 250}, "#/amount"),
        ({"amount": 250.0}, "#/amount"),
        ({"amount": "0.00"}, "#/amount"),
        ({"amount": "-1.00"}, "#/amount"),
        ({"amount": "1.001"}, "#/amount"),
        ({"amount": "1e3"}, "#/amount"),
        ({"currency": "eur"}, "#/currency"),
        ({"currency": "EUX"}, "#/currency"),
        ({"details": []}, "#/details"),
        ({"description": "x" * 141}, "#/description"),
        ({"organisation": ""}, "#/organisation"),
        ({"surprise": 1}, "#/surprise"),
    ],
)
def test_a_field_that_is_wrong_is_named_and_never_repeated(
    caller: Partner, change: dict[str, Any], pointer: str
) -> None:
    an_integration(slug="main")

    answer = _post(caller, **change)

    assert (answer.status, answer.code) == (400, "invalid_fields")
    assert pointer in [fault["pointer"] for fault in answer.json["errors"]]


def test_a_body_that_is_no_json_is_refused_only_once_the_secret_fits(caller: Partner) -> None:
    wrong = caller.post(PATH, b"{", x_internal_secret="wrong")
    right = caller.post(PATH, b"{", x_internal_secret=SECRET)

    assert (wrong.status, wrong.code) == (403, "invalid_internal_secret")
    assert (right.status, right.code) == (400, "malformed_json")


def test_a_kill_switch_is_the_fourth_guard(caller: Partner) -> None:
    an_organisation("internal")
    an_integration("stripe", slug="main")
    with transaction() as session:
        now = datetime.now(UTC)
        throw(session, SwitchScope.CURRENCY, "EUR", reason="why not", by="operator:ada", until=None, now=now)

    answer = _post(caller)

    assert (answer.status, answer.code) == (409, "payouts_disabled")
    assert b"why not" not in answer.body


def test_an_organisation_may_be_named_and_has_to_exist(caller: Partner) -> None:
    an_organisation("Acme")
    an_integration(slug="main")

    assert _post(caller, organisation="Acme").status == 200
    assert _post(caller, organisation="Nobody", tx_id="tx-2").code == "unknown_organisation"
