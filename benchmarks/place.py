"""One database and one queue, emptied and filled between two measurements."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
import redis

from benchmarks.traffic import AMOUNT_MINOR, CURRENCY, SLUG
from models.inbox import STATE

TABLES: Final = "inbox_event, inbox_new, inbox_set_aside, payout, observation, payout_event, delivery, attempt"


@dataclass(frozen=True, slots=True)
class Place:
    """One database and one queue."""

    database_url: str
    redis_url: str
    is_naive: bool = False

    @property
    def new(self) -> str:
        """Return a query for the ids of inbox events that are not applied yet."""
        if self.is_naive:
            return "SELECT id FROM inbox_event WHERE state = 'new'"
        return "SELECT event_id AS id FROM inbox_new"

    @property
    def applied(self) -> str:
        """Return a query for the ids of those that are applied."""
        state = "e.state" if self.is_naive else STATE
        return f"SELECT id FROM inbox_event e WHERE {state} = 'applied'"  # noqa: S608 (our own words)

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return a connection that commits every statement."""
        return psycopg.connect(self.database_url, autocommit=True)

    def number(self, query: str) -> int:
        """Return the one number that a query asks for."""
        with self.connect() as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def clear(self, payouts: int = 0) -> None:
        """Empty queues and tables, and put so many payouts on record that the gateway has."""
        self.forget_queues()
        with self.connect() as connection:
            connection.execute(f"TRUNCATE {TABLES}")
            connection.execute("CHECKPOINT")  # every run finds log files to use again, as a server that runs for long
            connection.execute(
                _PAYOUTS, {"payouts": payouts - 1, "amount": AMOUNT_MINOR, "currency": CURRENCY, "slug": SLUG}
            )
            # Only what has rows: a table that was vacuumed while empty is planned for as empty, however fast it grows,
            # until autovacuum comes by a minute later. A new table is not.
            connection.execute("VACUUM ANALYZE payout")

    def forget_queues(self) -> None:
        """Empty the queues."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()


# Due next as one that its gateway has just taken: two units of the poll schedule, and a unit is a day here (ground.py).
_PAYOUTS: Final = """
    INSERT INTO payout (id, organisation_id, integration_id, order_key, gateway_reference, amount_minor, currency,
        description, test_mode, submission, created_at, advanced_at, quiet_since, next_poll_at)
    SELECT 'pay_' || lpad(to_hex(n), 28, '0'), o.id, i.id, 'order-' || lpad(n::text, 8, '0'),
        'cpoi_' || lpad(n::text, 12, '0'), %(amount)s, %(currency)s, '', false, 'accepted', now(), now(), now(),
        now() + interval '2 days'
    FROM generate_series(0, %(payouts)s) n, organisation o, integration i WHERE i.slug = %(slug)s
"""
