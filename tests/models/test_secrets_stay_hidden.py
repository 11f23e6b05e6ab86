"""What ends up in a log or a traceback by accident is a `repr`, a `str` or a database error. None of them tells."""

import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import SQLModel

import connectors
import models
import payouts
import receiver
import settings
import workers
from connectors._base import Account, HttpReply, Order, WebhookRequest
from connectors.paycore import PayCore
from models.database import engine, transaction
from models.endpoint import Endpoint, EndpointSecrets
from models.inbox import InboxEvent
from models.integration import Integration, IntegrationSecrets
from models.notice import PING, Notice
from models.organisation import Operator
from models.outbox import Announcement, Attempt
from models.payout import Payout, PayoutEvent
from payouts.addresses import VettedUrl
from payouts.ask import Question
from payouts.create import NewPayout
from payouts.deliveries import Claimed, Finished, Outcome, Target
from payouts.endpoints import Added
from payouts.integrations import Connected
from payouts.submit import HandOver
from receiver.directory import Listener
from receiver.inbox_writer import Arrival
from settings import Settings
from tests.factories import an_endpoint, an_integration

PLANTED = "pl4nted-4111111111111111"
PLANTED_BYTES = PLANTED.encode()

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

PACKAGES = (connectors, models, payouts, receiver, workers)

SECRET_NAMES = {
    *("sealed", "sealed_headers", "secrets", "webhook_secrets", "credentials", "password", "password_hash"),
    *("secret_keys", "body", "body_digest", "payload", "details", "memento", "answer", "database_url", "redis_url"),
}
"""What a field that holds a secret, a body or an account number is called in this project."""

ACCOUNT = Account({"api_key": PLANTED})
SECRETS = IntegrationSecrets((PLANTED,), {"api_key": PLANTED})
CONNECTED = Connected(1, "a", PayCore(ACCOUNT), SECRETS, is_active=True, payouts_enabled=True)
ORDER = Order(order_key="k", amount_minor=1, currency="EUR", details={"iban": PLANTED}, memento={"quote_id": PLANTED})
TARGET = Target(f"https://h.test/{PLANTED}", ("v1",), PLANTED_BYTES, PLANTED_BYTES)
CLAIMED = Claimed("dlv_1", 1, "ep_1", "pay_1", "evt_1", NOW, PLANTED, TARGET)
TIMES: dict[str, Any] = {"created_at": NOW, "updated_at": NOW}
ENDPOINT = Endpoint(organisation_id="o", url=f"https://h.test/{PLANTED}", sealed=PLANTED_BYTES, **TIMES)

THINGS: dict[str, object] = {
    "Integration": Integration(slug="a", connector="paycore", sealed=PLANTED_BYTES, has_webhook_secret=True, **TIMES),
    "IntegrationSecrets": SECRETS,
    "Endpoint": ENDPOINT,
    "EndpointSecrets": EndpointSecrets.of(PLANTED),
    "Added": Added(ENDPOINT, PLANTED),
    "VettedUrl": VettedUrl(f"https://h.test/{PLANTED}"),
    "Notice": Notice(organisation_id="o", endpoint_id="e", type=PING, test_mode=False, created_at=NOW, payload=PLANTED),
    "Target": TARGET,
    "Operator": Operator(name="ada", password_hash=PLANTED_BYTES, created_at=NOW),
    "Account": ACCOUNT,
    "Connector": PayCore(ACCOUNT),
    "Connected": CONNECTED,
    "Question": Question("pay_1", CONNECTED, "r", "k", is_unconfirmed=False, submitted_at=None, memento=PLANTED_BYTES),
    "Order": ORDER,
    "HandOver": HandOver("pay_1", CONNECTED, ORDER, None),
    "NewPayout": NewPayout(
        integration="a", organisation="o", order_key="k", amount_minor=1, currency="EUR", details={"iban": PLANTED}
    ),
    "Payout": Payout(
        organisation_id="o",
        integration_id=1,
        order_key="k",
        amount_minor=1,
        currency="EUR",
        details=PLANTED_BYTES,
        memento=PLANTED_BYTES,
        created_at=NOW,
        advanced_at=NOW,
    ),
    "PayoutEvent": PayoutEvent(
        payout_id="p",
        organisation_id="o",
        test_mode=False,
        sequence=1,
        status="pending",
        source="poll",
        created_at=NOW,
        payload=PLANTED,
    ),
    "Announcement": Announcement("evt_1", "pay_1", "org_1", *(False, 1, None), "pending", "poll", None, PLANTED),
    "InboxEvent": InboxEvent(
        integration_id=1,
        event_key="k",
        body=PLANTED_BYTES,
        body_digest=PLANTED_BYTES,
        header_lines=PLANTED_BYTES,
        received_at=NOW,
    ),
    "Attempt": Attempt(
        delivery_id="d", number=1, started_at=NOW, duration_ms=1, outcome="refused", answer=PLANTED_BYTES
    ),
    "Claimed": CLAIMED,
    "Finished": Finished(CLAIMED, Outcome.REFUSED, NOW, 1, 500, PLANTED_BYTES),
    "Arrival": Arrival(1, "k", PLANTED_BYTES, PLANTED_BYTES, NOW.timestamp()),
    "Listener": Listener(1, "a", PayCore(ACCOUNT), (PLANTED,)),
    "WebhookRequest": WebhookRequest([], PLANTED_BYTES),
    "HttpReply": HttpReply(200, {}, PLANTED_BYTES),
    "Settings": Settings(
        database_url=f"postgresql://u:{PLANTED}@h/d",
        redis_url=f"redis://:{PLANTED}@h",
        secret_keys=(PLANTED,),
        **{
            name: getattr(settings.settings(), name)
            for name in (field.name for field in fields(Settings))
            if name not in {"database_url", "redis_url", "secret_keys"}
        },
    ),
}


@pytest.mark.parametrize("name", THINGS)
def test_no_text_of_it_tells_what_it_holds(name: str) -> None:
    thing = THINGS[name]

    texts = [repr(thing), str(thing), f"{thing}", f"{[thing]}", f"{({'of': thing},)}"]

    assert [shown for shown in texts if PLANTED in shown] == []


def test_rows_read_from_the_database_do_not_tell_either(database: None) -> None:
    integration = an_integration(webhook_secrets=(PLANTED,), credentials={"api_key": PLANTED})
    endpoint = an_endpoint(f"https://h.test/{PLANTED}")

    with transaction() as session:
        rows = [session.get(Integration, integration.id), session.get(Endpoint, endpoint.id)]

        assert None not in rows
        assert PLANTED not in repr(rows) + "".join(map(str, rows))
        assert "sealed" not in repr(rows)
        assert [row.secrets() for row in rows[:1]] == [SECRETS]  # type: ignore[union-attr]


def _modules(packages: tuple[ModuleType, ...]) -> Iterator[ModuleType]:
    yield settings
    for package in packages:
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not found.ispkg and not found.name.endswith("__main__"):
                yield import_module(found.name)


def _shown_fields() -> Iterator[str]:
    for module in _modules(PACKAGES):
        for kind in vars(module).values():
            if not isinstance(kind, type) or kind.__module__ != module.__name__:
                continue
            if is_dataclass(kind):
                yield from (f"{kind.__name__}.{field.name}" for field in fields(kind) if field.repr)
            elif issubclass(kind, SQLModel):
                shown = (name for name, field in kind.model_fields.items() if field.repr)
                yield from (f"{kind.__name__}.{name}" for name in shown)


def test_no_field_that_is_called_like_a_secret_is_ever_shown() -> None:
    shown = set(_shown_fields())

    assert "Integration.slug" in shown
    assert {name for name in shown if name.partition(".")[2] in SECRET_NAMES} == set()


def test_a_failed_statement_does_not_tell_its_parameters(database: None) -> None:
    with pytest.raises(DBAPIError) as failed, engine().connect() as connection:
        connection.execute(text("SELECT FROM no_such_table WHERE secret = :secret"), {"secret": PLANTED})

    assert PLANTED not in str(failed.value) + repr(failed.value)
    assert "hide_parameters" in str(failed.value)


def test_a_failed_flush_does_not_tell_the_row(database: None) -> None:
    twin = an_integration()

    with pytest.raises(IntegrityError) as failed:
        an_integration(slug=twin.slug, base_url=f"https://{PLANTED}@h.test", options={"key": PLANTED})

    assert PLANTED not in str(failed.value) + repr(failed.value)


def test_a_failed_batch_does_not_tell_its_rows(database: None) -> None:
    batch = [{"secret": PLANTED}, {"secret": PLANTED + "2"}]

    with pytest.raises(DBAPIError) as failed, engine().connect() as connection:
        connection.execute(text("INSERT INTO no_such_table VALUES (:secret)"), batch)

    assert PLANTED not in str(failed.value) + repr(failed.value)


def test_the_engine_itself_does_not_tell_the_password(database: None) -> None:
    told = settings.settings().database_url

    assert PLANTED not in repr(engine()) + repr(engine().url)
    assert told not in repr(settings.settings())
