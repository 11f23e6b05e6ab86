"""What is sent with bad intent, and what our own servers do to us: never a 500, never a payout too many."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from embedded.postgres import Postgres
from models.database import transaction
from models.integration import Integration
from models.payout import Payout
from receiver.partners import serve
from receiver.partners.bodies import LARGEST_BODY
from receiver.partners.limits import OwnBuckets, SharedBuckets
from receiver.partners.new_payout import BY_TELEPHONE
from settings import settings
from tests.concurrency import wait_until
from tests.factories import an_integration
from tests.receiver.doors import Door, a_door_process
from tests.receiver.partners.partner import Partner
from tests.servers import a_postgres, a_redis, migrate
from workers.once import Once

GOOD = json.dumps(BY_TELEPHONE).encode()


@pytest.fixture
def fedapay(database: None) -> Integration:
    return an_integration("fedapay")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (GOOD[:-1], 400, "malformed_json"),
        (GOOD.replace(b'"amount": "2500"', b'"amount": NaN'), 400, "malformed_json"),
        (GOOD.replace(b'"amount": "2500"', b'"amount": "1", "amount": "2500"'), 400, "malformed_json"),
        (GOOD.replace(b'"Ada"', rb'"\ud83d"'), 400, "malformed_json"),
        (GOOD.replace(b'"Ada"', b'"\xff"'), 400, "malformed_json"),
        (GOOD.replace(b'"2500"', b"9" * 4_400), 400, "malformed_json"),
        (GOOD.replace(b'"2500"', b"1e400"), 400, "malformed_json"),
        (b"[" * 60_000, 400, "malformed_json"),
        (b'{"details":' * 5_000 + b"1" + b"}" * 5_000, 400, "malformed_json"),
        (GOOD.replace(b'"Ada"', rb'"\u0000"'), 422, "invalid_request"),
        (GOOD.replace(b'"mtn"', b'"' + b"a" * 60_000 + b'"'), 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b'"amount"', 422, "invalid_request"),
        (b" " * (LARGEST_BODY + 1), 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_good_is_refused_and_nothing_else(
    partner: Partner, fedapay: Integration, body: bytes, status: int, code: str
) -> None:
    refused = partner.post("/v1/payouts", body)

    assert (refused.status, refused.code) == (status, code)
    with transaction() as session:
        assert session.exec(select(Payout)).all() == []


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_what_does_not_say_that_it_is_json_is_not_read_as_json(
    partner: Partner, fedapay: Integration, media_type: str
) -> None:
    assert partner.post("/v1/payouts", GOOD, content_type=media_type).code == "not_json"


def test_a_body_without_end_is_cut_off(partners_door: Door, partner: Partner) -> None:
    """Chunked: nobody has said how long it is."""
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    head = f"POST /v1/payouts HTTP/1.1\r\nhost: x\r\nauthorization: {partner.key}\r\ntransfer-encoding: chunked\r\n\r\n"
    with partners_door.connect() as connection:
        connection.sendall(head.encode() + chunk + chunk)

        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_refusal_is_never_many_times_the_size_of_what_it_refuses(partner: Partner, fedapay: Integration) -> None:
    body = {**BY_TELEPHONE, **{f"m{number}": 1 for number in range(4_000)}}

    refused = partner.post("/v1/payouts", body)

    assert refused.code == "invalid_request"
    assert len(refused.json["errors"]) == 20


def test_a_flood_of_query_parameters_is_refused_at_once(partner: Partner) -> None:
    assert partner.get("/v1/payouts?" + "&".join(["limit=1"] * 7_000)).code == "invalid_request"


def test_nobody_without_a_key_is_told_what_is_wrong_with_a_body(partner: Partner) -> None:
    assert partner.post("/v1/payouts", b"{", authorization="").code == "invalid_api_key"


def test_names_in_capitals_and_odd_methods_are_refused_politely(partner: Partner) -> None:
    assert partner.ask("GET", "/V1/PAYOUTS").code == "not_found"
    assert partner.ask("TRACE", "/v1/payouts").code == "method_not_allowed"
    assert partner.ask("GET", "//v1/payouts").code == "not_found"
    assert partner.ask("GET", "/v1/payouts/../payouts").code == "not_found"


def test_a_long_line_is_refused_rather_than_made_longer(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "LONGEST_LINE", -1)

    refused = partner.get("/v1/payouts")

    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")


def test_a_failure_of_ours_tells_nothing_but_its_name(
    partner: Partner, fedapay: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("receiver.partners.creating.create_direct", stumble)

    failed = partner.post("/v1/payouts", GOOD)

    assert (failed.status, failed.code) == (500, "internal_error")
    assert b"planted" not in failed.body
    assert failed.headers["request-id"].startswith("req_")


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with a_postgres() as server:
        migrate(server.url())
        yield server


def test_while_postgresql_is_away_it_is_503_and_afterwards_as_before(own_postgres: Postgres) -> None:
    with a_door_process("partners", DATABASE_URL=own_postgres.url()) as door:
        partner = Partner(door.port, "sk_live_" + "0" * 38)
        stranger = Partner(door.port, _a_key_of_nobody())
        assert partner.get("/v1/payouts").code == "invalid_api_key"
        assert stranger.get("/v1/payouts").code == "invalid_api_key"

        own_postgres.stop()
        away = stranger.get("/v1/payouts")
        described = stranger.get("/openapi.json")
        own_postgres.start()

        assert (away.status, away.code) == (503, "unavailable")
        assert int(away.headers["retry-after"]) > 0
        assert described.status == 200
        wait_until(lambda: stranger.get("/v1/payouts").status == 401)


def _a_key_of_nobody() -> str:
    from models.api_key import new_key

    return new_key(test_mode=secrets.choice([True, False]))


def test_without_redis_payouts_are_created_and_every_process_counts_for_itself(
    partner: Partner, fedapay: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_redis() as server, monkeypatch.context() as theirs:
        theirs.setenv("REDIS_URL", server.url)
        settings.cache_clear()
        shared = SharedBuckets()
        settings.cache_clear()
        monkeypatch.setattr(serve, "_SHARED", Once(lambda: shared))
        monkeypatch.setattr(serve, "_OWN", Once(OwnBuckets))
        monkeypatch.setattr("receiver.partners.limits.quota", lambda: 3)
        first = partner.get("/v1/payouts")
    settings.cache_clear()

    statuses = [partner.post("/v1/payouts", GOOD).status for _ in range(3)]

    assert first.status == 200
    assert statuses == [201, 201, 429]


def test_two_processes_share_one_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.partners.limits.quota", lambda: 5)
    name = secrets.token_hex(8)
    ours, theirs = SharedBuckets(), SharedBuckets()

    left = [buckets.take(name) for buckets in (ours, theirs, ours)]

    assert [allowance.remaining for allowance in left if allowance] == [4, 3, 2]
