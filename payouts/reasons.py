"""Why a payout is stuck, in words that stay the same: they are filtered by, counted and alerted on."""

from enum import StrEnum
from typing import Self


class StuckReason(StrEnum):
    """Why a payout is stuck. Where several hold, the first one here is told: it is the one to settle first."""

    meaning: str
    """One line for people: what holds, and what to do."""

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Give a word its meaning."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.meaning = meaning
        return reason

    DISPUTED = "disputed", "The evidence contradicts itself: compare it with the gateway's records and decide."
    SUBMISSION_UNKNOWN = "submission_unknown", "The answer to the hand-over was lost: never submit it again by hand."
    NOT_RECEIVED = "not_received", "The gateway knows nothing of it after its visibility window: no money has moved."
    INTEGRATION_INACTIVE = "integration_inactive", "Its integration is disabled, so nobody asks and nobody listens."
    PARKED = "parked", "A kill switch holds it back, unsent: lift the switch, or cancel the payout."
    UNSENT = "unsent", "It has not been handed over, and no money has moved: see what failed last, and if it may leave."
    WEBHOOK_SECRET_MISSING = "webhook_secret_missing", "Its webhooks are refused with 403: add the webhook secret."
    POLLS_FAILING = "polls_failing", "The last three polls or more taught us nothing: check credentials and gateway."
    GATEWAY_SILENT = "gateway_silent", "The gateway has said nothing since the hand-over: ask it."
    GATEWAY_SLOW = "gateway_slow", "The gateway keeps answering the same: ask it what the payout waits for."
