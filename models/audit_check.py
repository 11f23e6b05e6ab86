"""Walk the chain of audit lines and tell every place where it does not hold."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.audit_chain import LINE, NOTHING, Head, link_hash

_PAGE: Final = 5_000
MOST_FINDINGS: Final = 100

_Link = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where the chain does not hold."""

    kind: str
    """changed, missing, reordered, unlinked, slipped_in or head."""
    sequence: int
    """Of the link."""
    audit_id: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk over the whole chain has seen, in one snapshot."""

    links: int
    """How many lines are sealed."""
    lines: int
    unsealed: int
    """Lines that wait for their link; nothing vouches for these yet."""
    oldest_unsealed_at: datetime | None
    head: Head | None
    findings: tuple[Finding, ...]


def verify(session: Session, noted: Sequence[Head] = ()) -> Verdict:
    """Check every link against its line and the link before it, and that each noted head is in the chain.

    The transaction must be fresh: everything is read from one snapshot.
    """
    connection = session.connection()
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    walk = _Walk({head.sequence: head for head in noted})
    for page in _pages(session):
        walk.over(page)
    counts = connection.execute(_COUNTS).one()
    slipped_in = connection.execute(_SLIPPED_IN, {"most": MOST_FINDINGS}).scalars()
    walk.findings += [Finding("slipped_in", 0, line, "was added behind what is sealed") for line in slipped_in]
    head = walk.previous if walk.previous.sequence else None
    return Verdict(counts[0], counts[1], counts[2], counts[3], head, tuple(walk.all_findings()))


class _Walk:
    """One pass over the chain, from its first link to its last."""

    def __init__(self, noted: dict[int, Head]) -> None:
        self.previous = NOTHING
        self.findings: list[Finding] = []
        self._noted = noted

    def over(self, page: Sequence[_Link]) -> None:
        """Check the next links. After a fault go on from what the link says, so that one change is one finding."""
        for link in page:
            if len(self.findings) < MOST_FINDINGS:
                self.findings += self._faults(link, page)
            self.previous = Head(link["sequence"], bytes(link["hash"]))
            noted = self._noted.pop(link["sequence"], self.previous)
            if noted != self.previous:
                detail = f"the noted head is {noted}, the chain has {self.previous}"
                self.findings.append(Finding("head", noted.sequence, link["audit_id"], detail))

    def all_findings(self) -> Iterable[Finding]:
        """Return what was found, and every noted head that the chain does not reach any more."""
        yield from self.findings
        for noted in self._noted.values():
            detail = f"the chain ends at {self.previous.sequence}, before the noted head: its tail was cut off"
            yield Finding("head", noted.sequence, None, detail)

    def _faults(self, link: _Link, page: Sequence[_Link]) -> Iterator[Finding]:
        sequence, line = link["sequence"], link["audit_id"]
        if sequence != self.previous.sequence + 1:
            detail = f"links {self.previous.sequence + 1} to {sequence - 1} are missing"
            yield Finding("unlinked", self.previous.sequence + 1, None, detail)
        elif link["id"] is None:
            yield Finding("missing", sequence, line, f"audit line {line} is missing")
        elif link_hash(self.previous.hash, link) != bytes(link["hash"]):
            yield self._explained(link, page)

    def _explained(self, link: _Link, page: Sequence[_Link]) -> Finding:
        """Tell a line that was moved from one that was changed: another's place or another's hash fits it."""
        present = [other for other in page if other["id"] is not None]
        stands_here = {link_hash(self.previous.hash, other): other for other in present}
        rightful = stands_here.get(bytes(link["hash"])) or next(
            (other for digest, other in stands_here.items() if digest == bytes(other["hash"])), None
        )
        if rightful is not None:
            detail = f"audit line {rightful['id']} belongs here, not {link['audit_id']}"
            return Finding("reordered", link["sequence"], link["audit_id"], detail)
        detail = f"audit line {link['audit_id']} is not what was sealed"
        return Finding("changed", link["sequence"], link["audit_id"], detail)


def _pages(session: Session) -> Iterator[Sequence[_Link]]:
    after = 0
    while page := list(session.connection().execute(_LINKS, {"after": after, "most": _PAGE}).mappings()):
        yield page
        after = page[-1]["sequence"]


_LINKS: Final = text(
    f"""
    SELECT l.sequence, l.hash, l.audit_id, {LINE} FROM audit_link l LEFT JOIN audit a ON a.id = l.audit_id
    WHERE l.sequence > :after ORDER BY l.sequence LIMIT :most
    """  # noqa: S608 (our own columns)
)

_COUNTS: Final = text(
    """
    SELECT (SELECT count(*) FROM audit_link), (SELECT count(*) FROM audit), count(*), min(recorded_at)
    FROM audit a WHERE NOT EXISTS (SELECT FROM audit_link l WHERE l.audit_id = a.id)
    """
)

_SLIPPED_IN: Final = text(
    """
    WITH head AS (
        SELECT h.transaction_id, h.id FROM audit_link l JOIN audit h ON h.id = l.audit_id
        ORDER BY l.sequence DESC LIMIT 1
    )
    SELECT a.id FROM audit a, head WHERE (a.transaction_id, a.id) < (head.transaction_id, head.id)
        AND head.transaction_id < CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
        AND NOT EXISTS (SELECT FROM audit_link l WHERE l.audit_id = a.id)
    ORDER BY a.id LIMIT :most
    """
)
"""A line whose transaction was over when later lines were sealed, yet it was not there then. Not to be told while the
newest sealed line is from another cluster, whose transactions have other numbers."""
