"""The one door through which a status changes.

A webhook, a poll, the reply to a submission and an operator's decision all come through `observe()`: it locks the
payouts, records what was said, joins it, and writes the changes, the payout events and what is owed to partners in
the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from connectors._base import PayoutUpdate
from models.database import Quick
from models.ids import new_id
from models.inbox import renewing
from models.lifecycle import IN_FLIGHT, PayoutStatus, join
from models.outbox import Announcement, Carrier, fan_out
from models.payout import ASKED, Source, SubmissionState
from models.rows import Rows, as_json
from payouts.claiming import carried
from payouts.deliveries import Claimed
from payouts.facts import keep
from payouts.ledger import follow
from payouts.payload import event_payload
from payouts.polling import next_poll_at
from payouts.standing import Standing, add, lock_by_keys, write


@dataclass(slots=True)
class Evidence:
    """One update, and whose word it is. Not frozen, as `PayoutUpdate`."""

    integration_id: int
    update: PayoutUpdate
    source: Source
    inbox_event_id: int | None = None


@dataclass(slots=True)
class Observed:
    """What a batch of evidence has done, for the edge to act on after its commit."""

    unmatched: list[Evidence] = field(default_factory=list)
    """Nobody knows the payout (yet)."""
    deliveries: list[str] = field(default_factory=list)
    """Ids of new deliveries that nobody has."""
    carried: list[Claimed] = field(default_factory=list)
    """New deliveries that the carrier has."""
    awaited: dict[str, list[str]] = field(default_factory=dict)
    """By endpoint, ids of those for which it had no room."""
    released: list[int] = field(default_factory=list)
    """Inbox events that waited for a reference which this batch has brought."""
    advanced: int = 0


_CONFIRMED_BY_A_WORD: Final = frozenset(
    {SubmissionState.UNSENT, SubmissionState.SENDING, SubmissionState.UNKNOWN, SubmissionState.NOT_RECEIVED}
)
_UNDONE: Final = frozenset({PayoutStatus.FAILED, PayoutStatus.CANCELED})


def observe(session: Session, evidence: Sequence[Evidence], now: datetime, carrier: Carrier | None = None) -> Observed:
    """Take evidence, in the order given. The caller commits, then enqueues what `Observed` names.

    A `carrier` is given what it has room for as it is written; it must take it once the transaction is committed.
    """
    batch = _Batch(now, carrier)
    if not evidence:
        return batch.observed
    book = _Book(lock_by_keys(session, [_keys(item) for item in evidence]))
    for item in evidence:
        standing = book.find(*_keys(item))
        if standing is None:
            batch.observed.unmatched.append(item)
        else:
            batch.weigh(standing, item, book)
    batch.write(session)
    follow(session, batch.touched.values(), now)
    return batch.observed


@dataclass(frozen=True, slots=True)
class Birth:
    """What the first words about a new payout have brought about."""

    deliveries: list[str]
    steps: tuple[PayoutStatus, ...]


def announce_birth(session: Session, standing: Standing, beside: Mapping[str, Any], now: datetime) -> Birth:
    """Write a new payout with its first event, `payout.pending`; `beside` are the columns that `add` takes.

    One that is to leave later is scheduled in the same breath, and is nobody's to ask about before it left.
    """
    batch = _Batch(now)
    batch.announce(standing, None, Source.OPERATOR)
    add(session, standing, beside)
    if standing.scheduled_at:
        scheduled = PayoutUpdate(reference=None, status=PayoutStatus.SCHEDULED, said="scheduled")
        batch.weigh(standing, Evidence(standing.integration_id, scheduled, Source.PARTNER), _Book([standing]))
        standing.next_poll_at = standing.scheduled_at
        write(session, [standing])
    return Birth(batch.tell(session), batch.steps)


def _keys(item: Evidence) -> tuple[int, str | None, str | None]:
    return item.integration_id, item.update.reference, item.update.order_key


class _Book:
    """The locked payouts, findable the two ways a gateway names them."""

    def __init__(self, standings: Sequence[Standing]) -> None:
        self._by_reference = {(s.integration_id, s.gateway_reference): s for s in standings if s.gateway_reference}
        self._by_order_key = {(s.integration_id, s.order_key): s for s in standings}

    def find(self, integration_id: int, reference: str | None, order_key: str | None) -> Standing | None:
        by_reference = self._by_reference.get((integration_id, reference)) if reference else None
        return by_reference or (self._by_order_key.get((integration_id, order_key)) if order_key else None)

    def learn(self, standing: Standing, reference: str) -> None:
        standing.gateway_reference = reference
        self._by_reference[standing.integration_id, reference] = standing


class _Batch:
    """Everything that one transaction will write, gathered so that each table is written once."""

    def __init__(self, now: datetime, carrier: Carrier | None = None) -> None:
        self.now = now
        self._carrier = carrier
        self.observed = Observed()
        self.touched: dict[str, Standing] = {}
        self._observations: list[tuple[Any, ...]] = []
        """Rows of `_OBSERVED`."""
        self._announcements: list[Announcement] = []
        self._learnt: list[Standing] = []

    def weigh(self, standing: Standing, item: Evidence, book: _Book) -> None:
        """Join one piece of evidence into its payout."""
        update = item.update
        self.touched[standing.id] = standing
        note = self._contradiction(standing, item)
        if update.reference and standing.gateway_reference is None:
            book.learn(standing, update.reference)
            self._learnt.append(standing)
        self._confirm(standing, item)
        told, arrived = standing.processed_amount_minor, update.processed_amount_minor
        effect = self._join(standing, item)
        if arrived is not None and arrived != told and item.source not in ASKED:
            self._doubt(standing, arrived)
        if note and not standing.is_disputed:
            standing.is_disputed, standing.dispute = True, note
        said = (item.source, item.inbox_event_id, update.said, update.status)
        stands = arrived if arrived == standing.processed_amount_minor else None
        self._observations.append((standing.id, standing.epoch, *said, effect, update.occurred_at, note, stands))

    def announce(self, standing: Standing, previous: PayoutStatus | None, source: Source) -> None:
        """Number a change and snapshot what partners will read about it."""
        standing.sequence += 1
        self.touched[standing.id] = standing
        self._announcements.append(
            Announcement(
                id=new_id("evt"),
                payout_id=standing.id,
                organisation_id=standing.organisation_id,
                test_mode=standing.test_mode,
                sequence=standing.sequence,
                previous_status=previous,
                status=standing.status,
                source=source,
                occurred_at=standing.occurred_at,
                payload=event_payload(standing, previous, self.now),
            )
        )

    @property
    def steps(self) -> tuple[PayoutStatus, ...]:
        """Return the statuses that are announced, in order."""
        return tuple(PayoutStatus(announcement.status) for announcement in self._announcements)

    def tell(self, session: Session) -> list[str]:
        """Write what was said and whom it concerns, but no payout. Returns the deliveries."""
        self._record(session)
        return [one.id for one in fan_out(session, self._announcements, self.now)]

    def _record(self, session: Session) -> None:
        if self._observations:
            rows = {"rows": as_json(self._observations), "now": self.now}
            _RECORD.run(session, rows)

    def write(self, session: Session) -> None:
        """Write it all: observations, payouts, payout events and deliveries."""
        self._record(session)
        write(session, self.touched.values())
        owed = fan_out(session, self._announcements, self.now, self._carrier)
        self.observed.deliveries = [one.id for one in owed if not (one.is_leased or one.is_awaited)]
        if self._carrier:
            self.observed.carried = carried(session, owed, self._carrier.leased_until)
            for one in owed:
                if one.is_awaited:
                    self.observed.awaited.setdefault(one.endpoint_id, []).append(one.id)
        self.observed.advanced = len(self._announcements)
        if self._learnt:
            self.observed.released = release_unmatched(session, self._learnt)

    def _confirm(self, standing: Standing, item: Evidence) -> None:
        """Any word of the gateway about a payout proves that it was received. A hint is nobody's word yet.

        Nor is what it has received and awaits the start of: unless it answers that start, our words may be lost.
        """
        if item.source is Source.PARTNER:
            return
        is_word = item.source is not Source.OPERATOR and item.update.status is not None
        is_word = is_word and (item.source is Source.SUBMISSION or not item.update.awaits_start)
        if is_word and standing.submission in _CONFIRMED_BY_A_WORD:
            standing.submission = SubmissionState.ACCEPTED
        standing.last_evidence_at = self.now
        standing.last_evidence_source = item.source
        if item.source is Source.POLL:
            standing.polls += 1
            standing.poll_failures, standing.poll_failure = 0, None

    def _join(self, standing: Standing, item: Evidence) -> str:
        said = item.update.status
        if said is None:
            self._follow(standing, item.source)
            return "hint"
        joined = join(standing.status, said)
        keep(standing, item.update, item.source, advances=joined is not standing.status)
        if joined is standing.status:
            if item.source is Source.POLL:
                standing.poll_step += 1
                standing.next_poll_at = next_poll_at(standing.status, standing.poll_step, self.now)
            return "stale"
        previous, standing.status = standing.status, joined
        standing.advanced_at, standing.occurred_at = self.now, item.update.occurred_at
        standing.poll_step, planned = 0, standing.next_poll_at
        standing.next_poll_at = next_poll_at(joined, 0, self.now, planned)
        if joined not in IN_FLIGHT:
            standing.quiet_since = None
        elif standing.next_poll_at != planned:  # else no index is touched: it may look quieter than it is for a while
            standing.quiet_since = self.now
        self.announce(standing, previous, item.source)
        return "advanced"

    def _follow(self, standing: Standing, source: Source) -> None:
        """Ask at once about what was only hinted at; but not at once again where asking itself told no more."""
        if source is Source.POLL:
            standing.poll_step += 1
            standing.next_poll_at = next_poll_at(standing.status, standing.poll_step, self.now)
        else:
            standing.next_poll_at = self.now

    def _doubt(self, standing: Standing, arrived: int) -> None:
        """Ask at once where an unasked word tells of a part: the rest is held until somebody who was asked says so."""
        if standing.balance_id and standing.status is PayoutStatus.DELIVERED and arrived < standing.amount_minor:
            standing.next_poll_at = self.now

    @staticmethod
    def _contradiction(standing: Standing, item: Evidence) -> str | None:
        """Return why a person should look, or None. The status joins all the same."""
        update = item.update
        if update.amount_minor is not None and update.currency is not None:
            if update.currency != standing.currency:
                return "currency_differs"
            if update.amount_minor != standing.amount_minor:
                return "amount_differs"
        if update.reference and standing.gateway_reference not in (None, update.reference):
            return "second_reference"
        if update.status is PayoutStatus.DELIVERED and standing.status in _UNDONE and _is_later(update, standing):
            return "delivered_after_" + standing.status
        if standing.submission == SubmissionState.NOT_RECEIVED and _says_it_moves(item):
            return "received_after_all"  # its money was given back, and another attempt may have been made
        return None


def _is_later(update: PayoutUpdate, standing: Standing) -> bool:
    """Say whether it may have come after what we know; without both times it may."""
    return standing.occurred_at is None or update.occurred_at is None or update.occurred_at > standing.occurred_at


def _says_it_moves(item: Evidence) -> bool:
    """Say whether the gateway itself tells of a payout that it has and has not undone."""
    is_of_the_gateway = item.source not in (Source.PARTNER, Source.OPERATOR) and not item.update.awaits_start
    return is_of_the_gateway and item.update.status not in (None, *_UNDONE)


def release_unmatched(session: Session, standings: Sequence[Standing]) -> list[int]:
    """Make inbox events that waited for these payouts new again, and return their ids."""
    parameters = {
        "integrations": [s.integration_id for s in standings],
        "references": [s.gateway_reference for s in standings],
        "order_keys": [s.order_key for s in standings],
    }
    return [row[0] for row in session.connection().execute(_RELEASE, parameters)]


_OBSERVED: Final = Rows(
    payout_id="text", epoch="int", source="text", inbox_event_id="bigint", said="text", status="text", effect="text",
    occurred_at="timestamptz", note="text", processed_amount_minor="bigint",
)  # fmt: skip
_RECORD: Final = Quick(
    f"""
    INSERT INTO observation ({_OBSERVED.listed}, recorded_at)
    SELECT {_OBSERVED.listed}, :now FROM {_OBSERVED.table} AS o
    """  # noqa: S608 (fragments of our own)
)

_RELEASE: Final = text(
    renewing(
        """
        SELECT w.event_id FROM inbox_set_aside w
        JOIN unnest(CAST(:integrations AS int[]), CAST(:references AS text[]), CAST(:order_keys AS text[])) k (i, r, o)
            ON w.integration_id = k.i AND (w.reference = k.r OR w.order_key = k.o)
        WHERE w.state = 'unmatched' ORDER BY w.event_id FOR UPDATE OF w
        """
    )
)
