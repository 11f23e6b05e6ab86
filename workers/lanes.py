"""Who may start next: a lane for every endpoint, so that one that is slow, down or hanging holds up only itself.

Three limits. A lane's *share* is how many of its requests are in flight: it grows while answers come and shrinks when
none do. What a lane has *in hand*, leased and waiting, is what it can carry in a moment. And no lane takes more places
than are free: however many hang at once, there is a place for those that do not.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import Final

from payouts.deliveries import Claimed, Finished, Outcome

MOST_IN_FLIGHT: Final = 256
FIRST_SHARE: Final = 8
MOST_SHARE: Final = 32
IN_HAND_SECONDS: Final = 2.0
"""What is leased to this process should be under way about so soon."""
DEEPEST: Final = 16
"""In hand for each place of a share, at most."""
FIRST_GUESS_SECONDS: Final = 0.25
"""What an endpoint needs for an answer, until it has given one."""
MOST_LANES: Final = 4_096
MOST_HINTS: Final = 100_000
"""Ids remembered without a lease; a lane has at most as many as are left. What is forgotten, the sweep finds."""


@dataclass(slots=True)
class Lane:
    """One endpoint's deliveries in this process."""

    waiting: deque[Claimed] = field(default_factory=deque)
    hints: dict[str, None] = field(default_factory=dict)
    """Deliveries that may go, unclaimed, in their order."""
    flying: int = 0
    share: int = FIRST_SHARE
    seconds: float = FIRST_GUESS_SECONDS
    """Of an answer, smoothed."""
    is_in_turn: bool = False

    @property
    def room(self) -> int:
        """How many more it can carry in a moment."""
        depth = max(1, min(DEEPEST, int(IN_HAND_SECONDS / max(self.seconds, 1e-3))))
        return self.share * depth - self.flying - len(self.waiting)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing of it is here."""
        return not (self.flying or self.waiting or self.hints)

    def learn(self, finished: Finished) -> None:
        """Grow or shrink by what an attempt has come to."""
        self.seconds += (finished.duration_ms / 1000 - self.seconds) / 4
        if finished.outcome is Outcome.DELIVERED:
            self.share = min(self.share + 1, MOST_SHARE)
        elif finished.outcome is Outcome.UNREACHABLE or wants_rest(finished):
            self.share = max(self.share // 2, 1)


def wants_rest(finished: Finished) -> bool:
    """Tell whether an endpoint has said that it wants no more for now."""
    return finished.retry_after is not None or finished.status_code in (
        HTTPStatus.GONE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )


class Lanes:
    """The lanes of one courier. Anybody may give and ask; the courier alone starts and lands."""

    def __init__(self) -> None:
        """Know no endpoint."""
        self._lock = threading.Lock()
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._hinted: set[str] = set()
        self._hints = 0
        self._turn: deque[str] = deque()
        self.in_flight = 0

    def room(self, endpoint_id: str) -> int:
        """Return how many more deliveries of an endpoint there is room for."""
        with self._lock:
            lane = self._lanes.get(endpoint_id)
            return max(0, (lane or Lane()).room)

    def give(self, claimed: Iterable[Claimed]) -> None:
        """Put these behind what waits already."""
        with self._lock:
            for one in claimed:
                lane = self._lane(one.endpoint_id)
                lane.waiting.append(one)
                self._line_up(one.endpoint_id, lane)

    def remember(self, waiting: Mapping[str, Iterable[str]]) -> None:
        """Keep in mind, by endpoint, what may go and for which there was no room."""
        with self._lock:
            for endpoint_id, ids in waiting.items():
                lane = self._lane(endpoint_id)
                before = len(lane.hints)
                most = max(0, (MOST_HINTS - self._hints + before) // 2 - before)
                lane.hints.update(dict.fromkeys(islice(ids, most)))
                self._hints += len(lane.hints) - before
                if lane.hints:
                    self._hinted.add(endpoint_id)

    def recall(self) -> dict[str, list[str]]:
        """Return, by endpoint, and forget what was remembered and what there is room for now."""
        found: dict[str, list[str]] = {}
        with self._lock:
            for endpoint_id in list(self._hinted):
                lane = self._lanes[endpoint_id]
                ids = list(islice(lane.hints, max(0, lane.room)))
                for each in ids:
                    del lane.hints[each]
                self._hints -= len(ids)
                if not lane.hints:
                    self._hinted.discard(endpoint_id)
                if ids:
                    found[endpoint_id] = ids
        return found

    def start(self) -> list[Claimed]:
        """Return what is to be started now, one of each lane in turn."""
        started: list[Claimed] = []
        with self._lock:
            held_up = 0
            while self._turn and held_up < len(self._turn) and self.in_flight < MOST_IN_FLIGHT:
                endpoint_id = self._turn.popleft()
                lane = self._lanes[endpoint_id]
                if not lane.waiting or lane.flying >= lane.share:  # it has shrunk since it was lined up
                    lane.is_in_turn = False
                    continue
                if lane.flying >= max(1, MOST_IN_FLIGHT - self.in_flight):
                    self._turn.append(endpoint_id)
                    held_up += 1
                    continue
                held_up = 0
                started.append(lane.waiting.popleft())
                lane.flying += 1
                self.in_flight += 1
                lane.is_in_turn = False
                self._line_up(endpoint_id, lane)
        return started

    def land(self, *finished: Finished) -> list[Claimed]:
        """Take attempts out of the air. Returns what there is no time for now, to be given back."""
        surplus: list[Claimed] = []
        with self._lock:
            for one in finished:
                endpoint_id = one.claimed.endpoint_id
                lane = self._lanes[endpoint_id]
                lane.flying -= 1
                self.in_flight -= 1
                lane.learn(one)
                if one.outcome is not Outcome.DELIVERED:
                    surplus += self._surplus(lane, one)
                self._line_up(endpoint_id, lane)
        return surplus

    def abandon(self, claimed: Claimed) -> None:
        """Take out what was to start and does not."""
        with self._lock:
            lane = self._lanes[claimed.endpoint_id]
            lane.flying -= 1
            self.in_flight -= 1
            self._line_up(claimed.endpoint_id, lane)

    def clear(self) -> list[Claimed]:
        """Return all that waits, and wait for nothing any more."""
        with self._lock:
            left = [one for lane in self._lanes.values() for one in lane.waiting]
            for lane in self._lanes.values():
                lane.waiting.clear()
            self._turn.clear()
        return left

    @staticmethod
    def _surplus(lane: Lane, finished: Finished) -> list[Claimed]:
        number = len(lane.waiting) if wants_rest(finished) else min(len(lane.waiting), max(0, -lane.room))
        return [lane.waiting.pop() for _ in range(number)]

    def _lane(self, endpoint_id: str) -> Lane:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            self._make_room()
            lane = self._lanes[endpoint_id] = Lane()
        self._lanes.move_to_end(endpoint_id)
        return lane

    def _make_room(self) -> None:
        """Forget the idle lane that was used longest ago; what it had learnt can be learnt again."""
        if len(self._lanes) >= MOST_LANES:
            oldest = next((each for each, lane in self._lanes.items() if lane.is_idle), None)
            if oldest is not None:
                del self._lanes[oldest]

    def _line_up(self, endpoint_id: str, lane: Lane) -> None:
        if lane.waiting and lane.flying < lane.share and not lane.is_in_turn:
            lane.is_in_turn = True
            self._turn.append(endpoint_id)
