"""A history of closed deliveries, ten for every event, each with its attempt, and a hundred thousand open ones."""

from typing import Final

from benchmarks.place import Place

ENDPOINTS: Final = 1_000
PAYOUTS_EACH: Final = 50
OPEN_EACH: Final = 2
"""Deliveries of each payout: the first is the head, the second waits behind it."""

_ENDPOINTS: Final = """
    INSERT INTO endpoint (id, organisation_id, url, description, is_enabled, sealed, created_at, updated_at)
    SELECT 'ep_' || lpad(to_hex(n), 28, '0'), e.organisation_id, e.url, '', true, e.sealed, now(), now()
    FROM generate_series(1, %s) n, (SELECT * FROM endpoint LIMIT 1) e
"""
_EVENTS: Final = """
    INSERT INTO payout_event
        (id, payout_id, organisation_id, test_mode, sequence, status, source, created_at, payload)
    SELECT 'evt_' || lpad(to_hex(n), 28, '0'), 'pay_' || lpad(to_hex(n / 2), 28, '0'), o.id, false, 1 + n %% 2,
        'initiated', 'webhook', now(), repeat('x', 400)
    FROM generate_series(%s::bigint, %s::bigint) n, (SELECT id FROM organisation LIMIT 1) o
"""
_CLOSED: Final = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, state, attempts, created_at, next_attempt_at,
        closed_at)
    SELECT 'dlv_' || lpad(to_hex(n), 28, '0'), 'ep_' || lpad(to_hex(1 + n %% %s), 28, '0'),
        'pay_' || lpad(to_hex(n / 20), 28, '0'), 'evt_' || lpad(to_hex(n / 10), 28, '0'), 1 + (n / 10) %% 2,
        'delivered', 1, now(), now(), now()
    FROM generate_series(%s::bigint, %s::bigint) n
"""
_ATTEMPTS: Final = """
    INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status_code)
    SELECT 'dlv_' || lpad(to_hex(n), 28, '0'), 1, now(), 12, 'delivered', 204
    FROM generate_series(%s::bigint, %s::bigint) n
"""
_OPEN: Final = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT 'dlv_e' || lpad(to_hex(n), 27, '0'), 'ep_' || lpad(to_hex(1 + (n / 2) %% %s), 28, '0'),
        'pay_e' || lpad(to_hex(n / 2), 27, '0'), 'evt_' || lpad(to_hex(n %% 1000), 28, '0'), 1 + n %% 2, now(), now()
    FROM generate_series(0, %s - 1) n
"""
AS_BEFORE: Final = "UPDATE delivery SET leased_until = NULL, attempts = 0 WHERE state = 'open' AND attempts > 0"


def prepare(place: Place) -> None:
    """Introduce the endpoints."""
    place.clear()
    with place.connect() as connection:
        connection.execute(_ENDPOINTS, [ENDPOINTS])
        connection.execute("ANALYZE endpoint")


def grow(place: Place, closed: int) -> None:
    """Bring the history to so many closed deliveries, look at it, and then owe what is open."""
    with place.connect() as connection:
        start = place.number("SELECT count(*) FROM delivery")
        connection.execute(_EVENTS, [start // 10, closed // 10 - 1])
        connection.execute(_CLOSED, [ENDPOINTS, start, closed - 1])
        connection.execute(_ATTEMPTS, [start, closed - 1])
        connection.execute("VACUUM ANALYZE delivery, attempt, payout_event")
        connection.execute(_OPEN, [ENDPOINTS, ENDPOINTS * PAYOUTS_EACH * OPEN_EACH])
        connection.execute("CHECKPOINT")
