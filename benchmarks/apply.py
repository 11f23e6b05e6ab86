"""Events a second from the inbox to a committed status, with observation, payout event and delivery, through Dramatiq.

The real side is a real worker that takes from the apply queue only, so that deliveries are written and not attempted.
The naive side is one ORM transaction per event on eight threads, of the same queue only. Both must end the same.
"""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from benchmarks.ground import Ground, wait_for
from benchmarks.place import Place
from benchmarks.tables import Figure
from benchmarks.traffic import SLUG, WORDS, webhooks

REAL_PAYOUTS_PER_SECOND: Final = 4_000
NAIVE_PAYOUTS_PER_SECOND: Final = 100
LONGEST_SECONDS: Final = 120.0

_ENDED: Final = """
    SELECT (SELECT count(*) FROM ({applied}) AS applied), (SELECT count(*) FROM observation),
        (SELECT count(*) FROM payout_event), (SELECT count(*) FROM delivery),
        (SELECT count(*) FROM payout WHERE status = 'delivered')
"""


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Apply a batch each, in turn."""
    from benchmarks.naive.client import send_naive_apply
    from workers.apply import send_apply

    values: dict[str, list[float]] = {"ratchet": [], "one ORM transaction per event": []}
    started = [
        ground.start("benchmarks.serve", "queue", "apply"),
        ground.start("benchmarks.serve", "tasks", "naive-apply", place=ground.naive),
    ]
    try:
        for _ in range(rounds):
            payouts = int(REAL_PAYOUTS_PER_SECOND * seconds)
            values["ratchet"].append(_run(ground.real, payouts, send_apply))
            payouts = int(NAIVE_PAYOUTS_PER_SECOND * seconds)
            send = send_naive_apply(ground.naive)
            values["one ORM transaction per event"].append(_run(ground.naive, payouts, send))
    finally:
        ground.stop(*started)
    figure = Figure("apply", "events/s", values)
    figure.ratio("ratchet", "one ORM transaction per event", 40)
    figure.notes.append(
        "Every run ended with each payout delivered, and one observation, event and delivery per webhook."
    )
    return [figure]


def _run(place: Place, payouts: int, send: Callable[[Sequence[int]], None]) -> float:
    place.clear(payouts)
    ids = fill_inbox(place, payouts)
    started = time.monotonic()
    send(ids)
    with place.connect() as connection:
        waiting = f"SELECT EXISTS ({place.new})"
        wait_for(lambda: connection.execute(waiting).fetchone() == (False,), LONGEST_SECONDS, "applying")
        elapsed = time.monotonic() - started
        ended, events = connection.execute(_ENDED.format(applied=place.applied)).fetchone(), payouts * len(WORDS)
    if ended != (events, events, events, events, payouts):
        raise RuntimeError(f"{events} events over {payouts} payouts ended as {ended}")
    return events / elapsed


def fill_inbox(place: Place, payouts: int) -> list[int]:
    """Put the webhooks of so many payouts into the inbox as the receiver would, and return their ids in order."""
    integration = place.number(f"SELECT id FROM integration WHERE slug = '{SLUG}'")  # noqa: S608 (our own constant)
    with place.connect() as connection:
        copy = "COPY inbox_event (integration_id, event_key, body, body_digest, header_lines, received_at) FROM STDIN"
        with connection.cursor().copy(copy) as rows:
            for webhook in webhooks(payouts):
                body = webhook.body()
                key = f"payout-invoices:{webhook.payout}:{WORDS[webhook.step]}:{webhook.step}"
                rows.write_row((integration, key, body, sha256(body).digest()[:16], b"", "now"))
        if not place.is_naive:
            connection.execute("INSERT INTO inbox_new (event_id, received_at) SELECT id, received_at FROM inbox_event")
        connection.execute("VACUUM ANALYZE inbox_event, inbox_new")
        return [row[0] for row in connection.execute("SELECT id FROM inbox_event ORDER BY id")]
