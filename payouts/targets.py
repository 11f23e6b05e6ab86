"""Where endpoints' deliveries go, read again only when an endpoint's row is another version than it was."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from payouts.deliveries import Target

MOST_KNOWN: Final = 4_096


class _Known:
    """Targets as they were read, each good until its row is another version (PostgreSQL's `xmin`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Target] = {}

    def get(self, wanted: Mapping[str, str | None]) -> dict[str, Target]:
        """Return those that are known, by endpoint."""
        with self._lock:
            found = {
                endpoint_id: self._known.get((endpoint_id, version or "")) for endpoint_id, version in wanted.items()
            }
        return {endpoint_id: to for endpoint_id, to in found.items() if to}

    def put(self, endpoint_id: str, version: str, to: Target) -> None:
        """Keep one; forget all when they are too many."""
        with self._lock:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[endpoint_id, version] = to


_known: Final = _Known()


def targets(session: Session, wanted: Mapping[str, str | None]) -> dict[str, Target]:
    """Return where each endpoint's deliveries go, reading what is not known in that version; None is any version."""
    found = _known.get(wanted)
    unknown = [endpoint_id for endpoint_id in wanted if endpoint_id not in found]
    if unknown:
        for row in session.connection().execute(_TARGETS, {"ids": unknown}):
            found[row.id] = _target(row)
            _known.put(row.id, row.version, found[row.id])
    return found


def _target(row: Any) -> Target:
    schedule = None if row.retry_schedule is None else tuple(row.retry_schedule)
    return Target(row.url, tuple(row.schemes), row.sealed, row.sealed_headers, schedule)


_TARGETS: Final = text(
    """
    SELECT id, url, schemes, sealed, sealed_headers, retry_schedule, CAST(xmin AS text) AS version
    FROM endpoint WHERE id = ANY(:ids)
    """
)
