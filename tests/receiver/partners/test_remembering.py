"""Idempotency-Key: one key, one effect, one answer. Tried on an operation of the test's own."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session, select
from starlette.applications import Starlette

from models.api_key import Scope
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.organisation import Organisation
from models.remembered import RememberedAnswer
from payouts.remember import Asked, Given, prune, recall
from receiver.partners import serve
from receiver.partners.dispatch import routes
from receiver.partners.operation import Call, operation
from receiver.partners.refusals import Refusal
from receiver.partners.routes import MIDDLEWARE
from receiver.partners.shapes import Body, Shown
from tests.concurrency import at_once
from tests.factories import a_payout, say
from tests.receiver.doors import Door, a_server
from tests.receiver.partners.partner import Partner, a_key

MAY_GO_ON = threading.Event()
HAS_BEGUN = threading.Event()


class NewThing(Body):
    name: str
    refuse: bool = False
    fail: bool = False
    wait: bool = False


class Thing(Shown):
    id: str
    name: str


@operation("POST", "/v1/things", scope=Scope.PAYOUTS_WRITE, tag="things", summary="Make a thing", status=201)
def create_thing(call: Call, body: NewThing) -> Thing:
    """An organisation stands for whatever has an effect."""
    thing = Organisation(name=body.name, created_at=call.now)
    call.session.add(thing)
    call.session.flush()
    if body.wait:
        HAS_BEGUN.set()
        assert MAY_GO_ON.wait(20)
    if body.refuse:
        raise Refusal("unknown_payout", "not this one")
    if body.fail:
        raise ZeroDivisionError
    call.headers["location"] = f"/v1/things/{thing.id}"
    return Thing(id=thing.id, name=thing.name)


@pytest.fixture(scope="module")
def things_door(_migrated: None) -> Iterator[Door]:
    with a_server(Starlette(routes=routes([create_thing]), middleware=MIDDLEWARE)) as door:
        yield door


@pytest.fixture
def asking(things_door: Door, database: None) -> Partner:
    MAY_GO_ON.clear()
    HAS_BEGUN.clear()
    return Partner(things_door.port, a_key("Asking").key)


def things() -> list[str]:
    with transaction() as session:
        return sorted(name for name in session.exec(select(Organisation.name)) if name != "Asking")


def remembered() -> list[RememberedAnswer]:
    with transaction() as session:
        return list(session.exec(select(RememberedAnswer)))


def test_the_same_request_is_answered_alike_and_done_once(asking: Partner) -> None:
    first = asking.post("/v1/things", {"name": "a", "wait": False}, idempotency_key="k")
    again = asking.post("/v1/things", b'{ "wait":false, "name":"\\u0061" }', idempotency_key='"k"')

    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert things() == ["a"]


def test_another_body_under_the_key_is_a_conflict(asking: Partner) -> None:
    asking.post("/v1/things", {"name": "a"}, idempotency_key="k")

    other = asking.post("/v1/things", {"name": "b"}, idempotency_key="k")

    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert things() == ["a"]


def test_the_key_of_another_organisation_or_mode_is_another_key(asking: Partner, things_door: Door) -> None:
    keys = [asking.key, a_key("Asking", test_mode=True).key, a_key("Other").key]

    statuses = [
        Partner(things_door.port, key).post("/v1/things", {"name": f"n{number}"}, idempotency_key="k").status
        for number, key in enumerate(keys)
    ]

    assert statuses == [201, 201, 201]


def test_another_key_of_the_same_organisation_shares_it(asking: Partner, things_door: Door) -> None:
    """A rotated key must not make yesterday's request a new one."""
    asking.post("/v1/things", {"name": "a"}, idempotency_key="k")

    again = Partner(things_door.port, a_key("Asking").key).post("/v1/things", {"name": "a"}, idempotency_key="k")

    assert again.headers["idempotent-replayed"] == "true"


def test_of_fifty_twins_one_works_and_all_hear_the_same(asking: Partner) -> None:
    answers = at_once(*[lambda: asking.post("/v1/things", {"name": "a"}, idempotency_key="k")] * 50)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert things() == ["a"]


def test_a_twin_of_a_slow_request_is_told_so_after_a_while(asking: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "TWIN_SECONDS", 0.2)
    first: list[int] = []
    slow = {"name": "a", "wait": True}
    thread = threading.Thread(target=lambda: first.append(asking.post("/v1/things", slow, idempotency_key="k").status))
    thread.start()
    assert HAS_BEGUN.wait(20)

    twin = asking.post("/v1/things", slow, idempotency_key="k")
    MAY_GO_ON.set()
    thread.join(20)

    assert (twin.status, twin.code) == (409, "idempotency_in_progress")
    assert twin.headers["retry-after"] == "1"
    assert first == [201]


@pytest.mark.parametrize("more", [{}, {"refuse": True}])
def test_one_who_could_not_see_yet_that_a_twin_was_done_hears_the_same(
    asking: Partner, monkeypatch: pytest.MonkeyPatch, more: dict[str, bool]
) -> None:
    """The snapshot of a look may be older than the lock that it takes: then the rule runs, and stumbles or refuses."""
    first = asking.post("/v1/things", {"name": "a", **more}, idempotency_key="k")
    before = things()
    _look_away_once(monkeypatch)

    again = asking.post("/v1/things", {"name": "a", **more}, idempotency_key="k")

    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert things() == before


def test_one_who_could_not_see_yet_that_the_key_stands_for_something_else_leaves_nothing(
    asking: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.post("/v1/things", {"name": "a"}, idempotency_key="k")
    _look_away_once(monkeypatch)

    other = asking.post("/v1/things", {"name": "b"}, idempotency_key="k")

    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert things() == ["a"]


def _look_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Asked] = []

    def look(session: Session, asked: Asked) -> Given | None:
        looks.append(asked)
        return recall(session, asked) if len(looks) > 1 else None

    monkeypatch.setattr(serve, "recall", look)


def test_a_rules_refusal_is_remembered_and_its_effects_are_not(asking: Partner) -> None:
    first = asking.post("/v1/things", {"name": "a", "refuse": True}, idempotency_key="k")
    again = asking.post("/v1/things", {"name": "a", "refuse": True}, idempotency_key="k")

    assert (first.status, first.code) == (404, "unknown_payout")
    assert again.body == first.body
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert things() == []


def test_our_own_failure_is_not_remembered(asking: Partner) -> None:
    failed = asking.post("/v1/things", {"name": "a", "fail": True}, idempotency_key="k")

    assert (failed.status, failed.code) == (500, "internal_error")
    assert remembered() == []
    assert things() == []


@pytest.mark.parametrize("body", [{"name": 1}, {"name": "a\x00b"}, {}, {"name": "a", "more": 1}, []])
def test_what_does_not_validate_is_not_remembered(asking: Partner, body: object) -> None:
    refused = asking.post("/v1/things", body, idempotency_key="k")

    assert refused.status == 422
    assert asking.post("/v1/things", {"name": "a"}, idempotency_key="k").status == 201


@pytest.mark.parametrize("key", [" ", '""', "x" * 256, "caf\xe9", "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(asking: Partner, key: str) -> None:
    answer = asking.post("/v1/things", {"name": "a"}, idempotency_key=key)

    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")


def test_without_a_key_every_request_is_its_own(asking: Partner) -> None:
    assert [asking.post("/v1/things", {"name": name}).status for name in "ab"] == [201, 201]
    assert remembered() == []


def test_what_is_remembered_is_sealed(asking: Partner) -> None:
    asking.post("/v1/things", {"name": "planted"}, idempotency_key="k")

    assert b"planted" not in remembered()[0].sealed


def test_answers_are_forgotten_after_a_day_but_not_while_their_payout_is_in_flight(asking: Partner) -> None:
    flying, landed = a_payout(), a_payout()
    say(landed, PayoutStatus.DELIVERED)
    now = datetime.now(UTC)
    for key, payout_id, age in [
        ("young", None, 23),
        ("old", None, 25),
        ("flying", flying.id, 99),
        ("landed", landed.id, 25),
        ("landed but young", landed.id, 1),
    ]:
        with transaction() as session:
            session.add(
                RememberedAnswer(
                    organisation_id="org_1",
                    test_mode=False,
                    key=key,
                    fingerprint=b"",
                    sealed=b"",
                    payout_id=payout_id,
                    created_at=now - timedelta(hours=age),
                )
            )

    with transaction() as session:
        gone = [prune(session, now, most=1) for _ in range(3)]

    assert gone == [1, 1, 0]
    assert {answer.key for answer in remembered()} == {"young", "flying", "landed but young"}
