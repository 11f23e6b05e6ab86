"""One payout's timeline as a page."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from models.database import transaction
from payouts.timeline import MOST, timeline
from receiver.operators.pages import page
from receiver.operators.refusals import Refusal


def show(request: Request, operator: str) -> Response:
    """Show what was said about a payout, what changed, and who was told."""
    with transaction() as session:
        found = timeline(session, request.path_params["payout_id"])
    if found is None:
        raise Refusal(404, "unknown_payout", "There is no such payout")
    context = {"operator": operator, "timeline": found, "most": MOST, "as_of": datetime.now(UTC)}
    return page(request, "payout.html", context)
