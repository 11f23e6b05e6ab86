"""Every figure we count, on one screen.

Counted per batch, not per request: labels per request cost a third of the rate.

Processes share their counters through files (prometheus_client's multiprocess mode) in the folder that
PROMETHEUS_MULTIPROC_DIR names; `ratchet up` sets it. Lags and stuck payouts are read from the database when scraped.
"""

from typing import Final

from prometheus_client import Counter, Histogram

ACCEPTED: Final = Counter("ratchet_webhooks_accepted_total", "Webhooks answered 200", ["integration"])
REPEATED: Final = Counter("ratchet_webhooks_repeated_total", "Accepted ones that were known", ["integration"])
REFUSED: Final = Counter("ratchet_webhooks_refused_total", "Webhooks not accepted", ["integration", "reason"])
COMMIT: Final = Histogram(
    "ratchet_inbox_commit_seconds",
    "One group commit of the inbox",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0),
)
APPLIED: Final = Counter("ratchet_events_applied_total", "Inbox events by what became of them", ["outcome"])
DELIVERIES: Final = Counter("ratchet_delivery_attempts_total", "Attempts at partners' endpoints", ["outcome"])
POLLS: Final = Counter("ratchet_polls_total", "Questions to gateways about single payouts", ["outcome"])
SWEPT: Final = Counter("ratchet_swept_total", "Committed work that had to be queued again", ["kind"])
PRUNED: Final = Counter("ratchet_pruned_total", "Rows of history that had had their time", ["kind"])
