"""/v1/events, /v1/deliveries, /v1/recoveries: what became of every webhook, and how a partner mends it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import Delivery
from models.recovery import Recovery
from payouts.recover import SETTLED_AFTER, start, step
from payouts.sight import EVERYTHING
from receiver.partners import deliveries as delivery_operations
from receiver.partners import endpoints, events, recoveries
from receiver.partners.operation import Operation
from tests.factories import an_endpoint, get_events
from tests.payouts.missed import STEPS, a_history, an_attempt, close, deliveries
from tests.receiver.partners.partner import Answer, Partner
from workers.broker import broker

APartner = Callable[..., Partner]
NOBODY = "0" * 28


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["id"] for one in answer.json["data"]]


def test_events_come_newest_first_with_the_body_that_webhooks_carry(partner: Partner) -> None:
    payout = a_history(*STEPS)

    found = partner.get("/v1/events").json["data"]

    rows = list(reversed(get_events(payout)))
    assert [event["id"] for event in found] == [event.id for event in rows]
    assert found[0]["type"] == "payout.delivered"
    assert found[0]["body"] == json.loads(rows[0].payload or "")
    assert partner.get(f"/v1/events/{rows[0].id}").json == found[0]


def test_events_are_filtered_by_type_payout_and_time_and_come_in_pages(partner: Partner) -> None:
    payout, _ = a_history(*STEPS), a_history(*STEPS)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    assert len(ids(partner.get("/v1/events?type=payout.broadcast"))) == 2
    assert len(ids(partner.get(f"/v1/events?payout_id={payout.id}&type=payout.broadcast"))) == 1
    assert len(ids(partner.get(f"/v1/events?since={an_hour_ago}"))) == 8
    assert ids(partner.get(f"/v1/events?until={an_hour_ago}")) == []
    first = partner.get("/v1/events?limit=5")
    rest = partner.get(f"/v1/events?limit=5&after={first.json['next_cursor']}")
    assert len({*ids(first), *ids(rest)}) == 8


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "after=evt_1", "since=yesterday", "since=2026-05-12T09:15:00", "type=a%20b", "tpye=x"],
)
def test_a_filter_that_cannot_be_read_is_refused_and_not_ignored(partner: Partner, query: str) -> None:
    assert partner.get(f"/v1/events?{query}").code == "invalid_request"


def test_deliveries_are_filtered_by_endpoint_state_payout_and_type(partner: Partner) -> None:
    endpoint, _ = an_endpoint(), an_endpoint()
    payout, _ = a_history(*STEPS), a_history(*STEPS)
    close("dead", endpoint=endpoint, sequence=2)

    assert len(ids(partner.get(f"/v1/deliveries?endpoint_id={endpoint.id}"))) == 8
    assert len(ids(partner.get("/v1/deliveries?state=dead"))) == 2
    which = f"endpoint_id={endpoint.id}&payout_id={payout.id}&state=dead&event_type=payout.initiated"
    (found,) = partner.get(f"/v1/deliveries?{which}").json["data"]
    assert (found["state"], found["sequence"], found["next_attempt_at"]) == ("dead", 2, None)
    event_id = found["event_id"]
    assert len(ids(partner.get(f"/v1/deliveries?event_id={event_id}"))) == 2
    assert partner.get("/v1/deliveries?state=lost").code == "invalid_request"


def test_one_delivery_comes_with_attempts_answers_and_a_command_that_holds_no_secret(partner: Partner) -> None:
    endpoint = an_endpoint()
    a_history()
    delivery = deliveries(endpoint)[0]
    an_attempt(delivery.id, answer=b"<h1>Oh no</h1>")

    found = partner.get(f"/v1/deliveries/{delivery.id}").json

    (tried,) = found["tried"]
    assert (tried["number"], tried["outcome"], tried["status_code"]) == (1, "refused", 500)
    assert tried["answer"] == "<h1>Oh no</h1>"
    assert found["last_status_code"] == 500
    assert "$WEBHOOK_SECRET" in found["curl"] or "${WEBHOOK_SECRET" in found["curl"]
    (secret, *_) = endpoint.secrets().live(datetime.now(UTC))
    assert secret not in json.dumps(found)


def test_redelivering_answers_the_delivery_that_will_be_attempted_and_queues_it(partner: Partner) -> None:
    endpoint = an_endpoint()
    a_history()
    (dead,) = close("dead")
    broker.flush_all()

    answer = partner.post(f"/v1/deliveries/{dead}/redeliver", b"")

    assert answer.status == 202, answer.body
    assert (answer.json["redelivery_of"], answer.json["state"]) == (dead, "open")
    assert answer.headers["location"] == f"/v1/deliveries/{answer.json['id']}"
    assert broker.do_qsize("deliver") == 1
    assert partner.get(f"/v1/deliveries/{dead}").json["state"] == "replaced"
    assert {one.event_id for one in deliveries(endpoint)} == {answer.json["event_id"]}


def test_the_same_redelivery_under_one_idempotency_key_is_made_once(partner: Partner) -> None:
    endpoint = an_endpoint()
    a_history()
    (delivered,) = close("delivered")

    first = partner.post(f"/v1/deliveries/{delivered}/redeliver", b"", idempotency_key="a")
    close("delivered")
    second = partner.post(f"/v1/deliveries/{delivered}/redeliver", b"", idempotency_key="a")

    assert first.json == second.json
    assert len(deliveries(endpoint)) == 2


def test_a_recovery_is_a_job_whose_progress_is_seen_until_it_is_done(partner: Partner) -> None:
    a_history(*STEPS)
    endpoint = an_endpoint()
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    answer = partner.post("/v1/recoveries", {"endpoint_id": endpoint.id, "since": since})

    assert (answer.status, answer.json["state"], answer.json["progress"]) == (202, "running", 0)
    assert answer.headers["location"] == f"/v1/recoveries/{answer.json['id']}"
    again = partner.post("/v1/recoveries", {"endpoint_id": endpoint.id, "since": since})
    assert again.code == "recovery_running"
    with transaction() as session:
        step(session, datetime.now(UTC) + SETTLED_AFTER)
    done = partner.get(answer.headers["location"]).json
    assert (done["state"], done["progress"], done["owed"], done["examined"]) == ("done", 1, 4, 4)
    assert partner.get("/v1/recoveries").json["data"] == [done]
    assert {one.recovery_id for one in deliveries(endpoint)} == {done["id"]}


@pytest.mark.parametrize(
    ("since", "code"), [("2999-01-01T00:00:00Z", "since_not_past"), ("2026-05-12", "invalid_request")]
)
def test_a_time_that_makes_no_sense_is_refused(partner: Partner, since: str, code: str) -> None:
    assert partner.post("/v1/recoveries", {"endpoint_id": an_endpoint().id, "since": since}).code == code


# What belongs to somebody else does not exist

OPERATIONS = [*endpoints.OPERATIONS, *events.OPERATIONS, *delivery_operations.OPERATIONS, *recoveries.OPERATIONS]
ABOUT_ONE = [operation for operation in OPERATIONS if operation.parameters]
BODIES: dict[str, Any] = {"update_webhook_endpoint": {"description": "mine"}, "rotate_webhook_secret": {}}


@pytest.fixture
def theirs(database: None) -> dict[str, str]:
    """Return the ids of one of each of Acme's live side."""
    endpoint = an_endpoint()
    payout = a_history()
    (delivery,) = close("dead")
    with transaction() as session:
        recovery = start(
            session, EVERYTHING, endpoint.id, datetime(2026, 1, 1, tzinfo=UTC), actor="a", now=datetime.now(UTC)
        )
    return {
        "endpoint_id": endpoint.id,
        "event_id": get_events(payout)[0].id,
        "delivery_id": delivery,
        "recovery_id": recovery.id,
    }


def everything() -> list[Any]:
    with transaction() as session:
        run = session.connection().execute
        tables: tuple[Any, ...] = (Endpoint, Delivery, Recovery)
        return [run(select(table.__table__).order_by(table.id)).all() for table in tables]


@pytest.mark.parametrize("stranger", [("Globex", False), ("Acme", True)], ids=["another partner", "the other mode"])
@pytest.mark.parametrize("operation", ABOUT_ONE, ids=lambda operation: operation.name)
def test_another_partners_rows_are_as_unknown_as_none(
    operation: Operation, stranger: tuple[str, bool], theirs: dict[str, str], a_partner: APartner
) -> None:
    before = everything()
    partner = a_partner(stranger[0], test_mode=stranger[1])
    body = json.dumps(BODIES.get(operation.name)).encode() if operation.name in BODIES else None

    def ask(given: dict[str, str]) -> Answer:
        return partner.ask(operation.method, operation.path.format(**given), body, content_type="application/json")

    theirs_, nobodys = ask(theirs), ask({name: f"{id_.split('_')[0]}_{NOBODY}" for name, id_ in theirs.items()})

    assert theirs_.status == 404
    assert theirs_.code.startswith("unknown_")
    assert {**theirs_.json} == {**nobodys.json}
    assert everything() == before


@pytest.mark.parametrize("stranger", [("Globex", False), ("Acme", True)], ids=["another partner", "the other mode"])
def test_lists_hold_nothing_of_another_partners_whatever_is_asked_for(
    stranger: tuple[str, bool], theirs: dict[str, str], a_partner: APartner
) -> None:
    partner, owner = a_partner(stranger[0], test_mode=stranger[1]), a_partner()
    endpoint, event = theirs["endpoint_id"], theirs["event_id"]
    payout = owner.get(f"/v1/events/{event}").json["payout_id"]
    paths = [
        *("/v1/webhook-endpoints", "/v1/events", f"/v1/events?payout_id={payout}", "/v1/deliveries", "/v1/recoveries"),
        *(f"/v1/deliveries?endpoint_id={endpoint}", f"/v1/deliveries?payout_id={payout}&event_id={event}"),
        f"/v1/deliveries?event_id={event}",
    ]

    assert [ids(partner.get(path)) for path in paths] == [[]] * len(paths)
    assert all(ids(owner.get(path)) for path in paths)
    recovery = {"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"}
    assert partner.post("/v1/recoveries", recovery).code == "unknown_endpoint"
