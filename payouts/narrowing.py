"""What the stuck-payout report is narrowed by: words that a payout could have, so that a slip is no all-clear."""

from collections.abc import Iterable, Mapping

from sqlmodel import Session

from connectors import NAMES
from models.lifecycle import PayoutStatus
from payouts.reasons import StuckReason
from payouts.refused import Refused
from payouts.report import Filters
from payouts.silence import Silence, read_silences


def choices(silences: Iterable[Silence]) -> dict[str, list[str]]:
    """Return for each filter what it may be, in the order in which it is offered."""
    known = list(silences)
    return {
        "gateway": sorted({*NAMES, *(silence.gateway for silence in known)}),
        "integration": [silence.slug for silence in known],
        "status": [*PayoutStatus],
        "reason": [*StuckReason],
    }


def narrowed_by(session: Session, given: Mapping[str, str | None]) -> Filters:
    """Read the filters; an empty one is none. Raises `Refused` for a value that nothing could have."""
    asked = {}
    for name, known in choices(read_silences(session)).items():
        value = given.get(name) or None
        if value is not None and value not in known:
            raise Refused("invalid_filter", f"no such {name}; there are: {', '.join(known) or 'none yet'}")
        asked[name] = value
    status, reason = asked["status"], asked["reason"]
    return Filters(
        gateway=asked["gateway"],
        integration=asked["integration"],
        status=PayoutStatus(status) if status else None,
        reason=StuckReason(reason) if reason else None,
    )
