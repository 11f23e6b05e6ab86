"""Partners who pay in beforehand, on record: each with a key, an endpoint and a balance; and what they ask for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlmodel import select

from benchmarks.place import Place
from benchmarks.traffic import SLUG

PAYERS: Final = 50
PAID_IN_MINOR: Final = 10**15
PATH: Final = "/v1/payouts"
LASTING: Final = ("org_", "bal_", "ep_", "key_")
"""Prefixes of ids whose digits are a partner's number."""
NAME: Final = "Payer "

_TABLES: Final = (
    "payout, payout_event, delivery, observation, ledger_entry, audit, audit_link, remembered_answer, inbox_event"
)
_WIPE: Final = f"""
    SET session_replication_role = replica;
    TRUNCATE {_TABLES};
    UPDATE balance SET balance_minor = 0, held_minor = 0;
    SET session_replication_role = DEFAULT;
"""  # noqa: S608 (our own tables)
"""What may only ever be added to is emptied past the triggers that say so: nobody else is on this database."""
_FORGET: Final = "DELETE FROM {} WHERE organisation_id IN (SELECT id FROM organisation WHERE name LIKE 'Payer %')"


def name_of(number: int) -> str:
    """Return a partner's name."""
    return f"{NAME}{number:08x}"


@contextmanager
def payers(place: Place, url: str) -> Iterator[list[str]]:
    """Put the partners on record and give their keys; forget them in the end."""
    try:
        yield [_introduce(number, url) for number in range(PAYERS)]
    finally:
        with place.connect() as connection:
            connection.execute(_WIPE)
            for table in ("api_key", "endpoint", "balance"):
                connection.execute(_FORGET.format(table))
            connection.execute("DELETE FROM organisation WHERE name LIKE 'Payer %'")


def _introduce(number: int, url: str) -> str:
    """Return the key of a new partner."""
    from models.api_key import Scope
    from models.balance import Balance
    from models.database import transaction
    from models.endpoint import Endpoint, EndpointSecrets, new_secret
    from models.organisation import Organisation
    from payouts.keys import mint

    now, digits = datetime.now(UTC), f"{number:028x}"
    organisation = Organisation(id=f"org_{digits}", name=name_of(number), created_at=now)
    sealed, of = EndpointSecrets.of(new_secret()).sealed(), organisation.id
    with transaction() as session:
        session.add(organisation)
        session.flush()
        session.add(
            Endpoint(id=f"ep_{digits}", organisation_id=of, url=url, sealed=sealed, created_at=now, updated_at=now)
        )
        session.add(Balance(id=f"bal_{digits}", organisation_id=of, test_mode=False, currency="USD", created_at=now))
        return mint(session, organisation, test_mode=False, scopes=[*Scope], actor="benchmark", now=now).key


def pay_in(place: Place) -> None:
    """Empty everything that a creation writes to, and credit every balance anew."""
    from models.balance import Balance
    from models.database import transaction
    from payouts.treasury import By, credit

    place.forget_queues()
    with place.connect() as connection:
        connection.execute(_WIPE)
        connection.execute("CHECKPOINT")  # every run finds log files to use again, as a server that runs for long
    by = By("benchmark", "a benchmark needs it", datetime.now(UTC))
    with transaction() as session:
        for balance in session.exec(select(Balance)):
            credit(session, balance.id, PAID_IN_MINOR, by)
    with place.connect() as connection:
        connection.execute("VACUUM ANALYZE balance, organisation, endpoint, api_key")


def headers(key: str, number: int) -> dict[str, str]:
    """Return what a partner sends along with its request of this number."""
    return {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "idempotency-key": idempotency_key(number),
    }


def idempotency_key(number: int) -> str:
    """Return the key of the request of this number."""
    return f"invoice-{number:08x}"


def body(number: int) -> bytes:
    """Return a direct payout of one dollar and some cents."""
    asked = {
        "currency": "USD",
        "amount": f"1.{number % 100:02d}",
        "customer": {"first_name": "Ada", "last_name": "Mensah", "email": "ada@example.com"},
        "mode": "bank_transfer",
        "gateway": SLUG,
        "details": {"service": "bank_account_usd", "fields": {"account": "000123456789", "routing": "110000000"}},
        "description": "May run",
        "reference": f"invoice {number}",
        "metadata": {"batch": "2026-05"},
    }
    return json.dumps(asked).encode()


def request(key: str, number: int) -> bytes:
    """Return the whole HTTP request of this number."""
    written = body(number)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers(key, number).items())
    return f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}Content-Length: {len(written)}\r\n\r\n".encode() + written
