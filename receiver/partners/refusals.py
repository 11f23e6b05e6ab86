"""Refusals at the partners' door: every code with its status and title, in one table."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from receiver.problems import Problem

CODES: Final[dict[str, tuple[int, str]]] = {
    # who asks
    "invalid_api_key": (401, "Send a valid API key: Authorization: Bearer sk_…"),
    "missing_scope": (403, "This key may not do that"),
    "invalid_internal_secret": (403, "Show a valid X-Internal-Secret"),
    # what is asked
    "malformed_json": (400, "The body is not JSON that can be read in one way only"),
    "invalid_idempotency_key": (400, "The Idempotency-Key cannot be used"),
    "invalid_fields": (400, "The request does not say what it must"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "This cannot be done here"),
    "body_too_large": (413, "The body is too large"),
    "not_json": (415, "Send JSON: Content-Type: application/json"),
    "invalid_request": (422, "The request does not say what it must"),
    # idempotency
    "idempotency_conflict": (409, "This Idempotency-Key stands for another request"),
    "idempotency_in_progress": (409, "A request under this Idempotency-Key is under way"),
    # payouts
    "unknown_payout": (404, "There is no such payout"),
    "missing_detail": (422, "The gateway needs to know more"),
    "unknown_gateway": (422, "There is no such gateway or account"),
    "no_gateway": (409, "No gateway can carry this payout"),
    "unknown_organisation": (409, "There is no such organisation"),
    "integration_inactive": (409, "The integration is not active"),
    "integration_ambiguous": (409, "Several integrations are meant"),
    "payouts_disabled": (409, "Payouts are switched off"),
    "payouts_unsupported": (409, "This gateway cannot create payouts"),
    "webhook_secret_missing": (409, "The integration has no webhook secret"),
    "currency_unsupported": (409, "This gateway does not pay out in this currency"),
    "mode_differs": (409, "The account and what is asked for are not of one mode"),
    "payout_exists": (409, "There is such a payout already"),
    "not_cancelable": (409, "It can no longer be called off"),
    "cancel_unconfirmed": (409, "Nobody knows yet whether it was called off"),
    "gateway_unavailable": (503, "The gateway could not be asked"),
    "previous_attempt_open": (409, "Another attempt could still pay"),
    # quotes
    "no_route": (409, "There is no route for this payout"),
    "rate_missing": (409, "There is no rate between these currencies"),
    "rate_expired": (409, "The rate between these currencies is too old"),
    "quote_unknown": (404, "There is no such quote"),
    "quote_foreign": (404, "This quote was given to somebody else"),
    "quote_expired": (409, "The quote has expired"),
    "quote_already_used": (409, "The quote was used already"),
    # balances
    "unknown_balance": (404, "There is no such balance"),
    "balance_missing": (409, "There is no balance in this currency"),
    "balance_inactive": (409, "The balance is not active"),
    "balance_below_threshold": (409, "A balance is below its negative threshold"),
    "insufficient_funds": (409, "The balance does not cover this"),
    "payouts_blocked": (409, "Payouts from this balance are blocked"),
    "refunds_queued": (409, "Refunds wait for money and go first"),
    "already_scheduled": (409, "The balance has a payout on that day already"),
    "destination_missing": (409, "The balance pays to nowhere"),
    "destination_invalid": (409, "The gateway cannot be told where the balance pays to"),
    # webhooks
    "endpoint_required": (400, "Say which endpoint"),
    "unknown_endpoint": (404, "There is no such endpoint"),
    "unknown_event": (404, "There is no such event"),
    "unknown_delivery": (404, "There is no such delivery"),
    "unknown_recovery": (404, "There is no such recovery"),
    "url_invalid": (422, "The URL cannot be an endpoint's"),
    "url_not_https": (422, "The URL must be https"),
    "url_has_credentials": (422, "The URL holds a user or a password"),
    "url_port_forbidden": (422, "The URL's port is not one that we connect to"),
    "url_not_public": (422, "The URL's address is not public"),
    "event_types_invalid": (422, "The event types are not some of ours"),
    "description_invalid": (422, "The description cannot be kept"),
    "metadata_invalid": (422, "The metadata cannot be kept"),
    "headers_invalid": (422, "The headers cannot be sent"),
    "rate_limit_invalid": (422, "The rate limit is out of range"),
    "retry_schedule_invalid": (422, "The retry schedule is out of range"),
    "signatures_invalid": (422, "The signatures are not some of ours"),
    "since_not_past": (422, "The time is not in the past"),
    "too_many_endpoints": (409, "There are as many endpoints as there may be"),
    "too_many_secrets": (409, "As many secrets sign already as may"),
    "secrets_lost": (409, "The old secrets cannot go on signing"),
    "endpoint_disabled": (409, "The endpoint is disabled"),
    "endpoint_deleted": (409, "The endpoint is deleted"),
    "event_pruned": (409, "The body of the event is no longer kept"),
    "recovery_running": (409, "A recovery of this endpoint is under way"),
    "grace_invalid": (422, "The time is out of range"),
    "lifetime_invalid": (422, "The time is out of range"),
    "unknown_link": (404, "There is no such link"),
    "link_over": (410, "This link does not open anything any more"),
    # our own troubles
    "too_many_requests": (429, "Too many requests under this key"),
    "internal_error": (500, "Something failed on our side; it was not your request"),
    "overloaded": (503, "Too many requests wait; send it again"),
    "unavailable": (503, "This cannot be answered now; send it again"),
}
"""What a rule or this door refuses by. A code that is missing here is answered 409: a rule that spoke up."""

PASSING: Final = frozenset({"idempotency_conflict", "idempotency_in_progress", "too_many_requests"})
"""Never remembered under an Idempotency-Key."""

RETRY_AFTER: Final = {"too_many_requests": 1, "idempotency_in_progress": 1, "overloaded": 1, "unavailable": 5}
"""Seconds."""


class Refusal(Exception):
    """One request is refused. The door answers it."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[dict[str, Any]] = (),
        retry_after: int | None = None,
        allow: str = "",
    ) -> None:
        """`detail` tells how to mend it; `errors` point at what is wrong; `retry_after` in seconds."""
        super().__init__(code)
        self.code = code
        self.status, self.title = CODES.get(code, (409, code.replace("_", " ").capitalize()))
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = RETRY_AFTER.get(code, 0) if retry_after is None else retry_after
        self.allow = allow

    @property
    def is_passing(self) -> bool:
        """Tell whether it says something about this moment only, and nothing about the request."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.code in PASSING

    def problem(self) -> Problem:
        """Render it."""
        more = {"errors": list(self.errors)} if self.errors else None
        problem = Problem(
            self.status,
            self.code,
            self.title,
            detail=self.detail,
            retry_after=self.retry_after,
            allow=self.allow,
            more=more,
        )
        if self.code == "invalid_api_key":
            problem.headers["www-authenticate"] = 'Bearer realm="Ratchet"'
        return problem

    def response(self) -> Response:
        """Return it as a Starlette response."""
        return self.problem().response()
