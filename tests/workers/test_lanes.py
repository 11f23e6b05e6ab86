"""Who may start next: shares that grow and shrink, room, and a place for everybody."""

from datetime import UTC, datetime
from itertools import chain, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workers.lanes
from payouts.deliveries import Claimed, Finished, Outcome, Target
from tests.laws import IN_MEMORY
from workers.lanes import DEEPEST, FIRST_SHARE, MOST_IN_FLIGHT, MOST_SHARE, Lanes

TO = Target("https://partner.example/", ("v1",), b"")
NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
_numbers = count(1)


def some(number: int, endpoint_id: str = "ep_1") -> list[Claimed]:
    return [Claimed(f"dlv_{next(_numbers)}", 1, endpoint_id, "pay_1", "evt_1", NOW, "{}", TO) for _ in range(number)]


def ended(
    one: Claimed, outcome: Outcome = Outcome.DELIVERED, *, milliseconds: int = 1, code: int | None = None
) -> Finished:
    return Finished(one, outcome, NOW, milliseconds, code)


def timed_out(one: Claimed) -> Finished:
    return ended(one, Outcome.UNREACHABLE, milliseconds=15_000)


def test_an_endpoint_starts_with_a_small_share_that_grows_with_every_answer() -> None:
    lanes = Lanes()
    lanes.give(some(1_000))

    first = lanes.start()
    for one in first:
        lanes.land(ended(one))
    second = lanes.start()

    assert (len(first), len(second)) == (FIRST_SHARE, 2 * FIRST_SHARE)


def test_a_share_grows_to_a_limit() -> None:
    lanes = Lanes()
    lanes.give(some(2_000))

    flights = []
    for _ in range(20):
        flying = lanes.start()
        flights.append(len(flying))
        for one in flying:
            lanes.land(ended(one))

    assert max(flights) == MOST_SHARE


def test_without_answers_a_share_shrinks_to_one_and_the_rest_is_given_back() -> None:
    lanes = Lanes()
    lanes.give(some(64))

    returned = [each for one in lanes.start() for each in lanes.land(timed_out(one))]

    assert len(returned) == 64 - FIRST_SHARE
    assert lanes.room("ep_1") == 1


@pytest.mark.parametrize("code", [410, 429, 503])
def test_whoever_wants_rest_gets_everything_that_waits_given_back(code: int) -> None:
    lanes = Lanes()
    lanes.give(some(20))
    flying = lanes.start()

    returned = lanes.land(ended(flying[0], Outcome.REFUSED, code=code))

    assert len(returned) == 20 - FIRST_SHARE
    assert lanes.start() == []


def test_a_refusal_that_comes_promptly_shrinks_nothing() -> None:
    lanes = Lanes()
    lanes.give(some(40))

    returned = [each for one in lanes.start() for each in lanes.land(ended(one, Outcome.REFUSED, code=500))]

    assert returned == []
    assert len(lanes.start()) == FIRST_SHARE


def test_an_endpoint_that_answers_at_once_has_more_room_than_one_that_is_slow() -> None:
    lanes = Lanes()
    lanes.give([*some(8, "ep_fast"), *some(8, "ep_slow")])
    unknown = lanes.room("ep_new")

    for one in lanes.start():
        lanes.land(ended(one, milliseconds=1 if one.endpoint_id == "ep_fast" else 4_000))

    assert lanes.room("ep_fast") > unknown > lanes.room("ep_slow") > 0
    assert lanes.room("ep_fast") <= MOST_SHARE * DEEPEST


def test_what_is_in_hand_takes_room_until_it_has_landed() -> None:
    lanes = Lanes()
    before = lanes.room("ep_1")
    lanes.give(some(before))
    full = lanes.room("ep_1")

    lanes.start()

    assert full == lanes.room("ep_1") == 0


def test_lanes_take_turns() -> None:
    lanes = Lanes()
    lanes.give([*some(3, "ep_a"), *some(3, "ep_b")])

    assert [one.endpoint_id for one in lanes.start()] == ["ep_a", "ep_b"] * 3


@IN_MEMORY
@given(hogs=st.integers(1, 200))
def test_there_is_always_a_place_for_one_more_endpoint(hogs: int) -> None:
    lanes = Lanes()
    for n in range(hogs):
        lanes.give(some(50, f"ep_{n}"))
    lanes.start()

    (newcomer,) = some(1, "ep_new")
    lanes.give([newcomer])

    assert newcomer in lanes.start()
    assert lanes.in_flight <= MOST_IN_FLIGHT


def test_never_more_fly_than_there_are_places() -> None:
    lanes = Lanes()
    for n in range(1_000):
        lanes.give(some(2, f"ep_{n}"))

    assert len(lanes.start()) == MOST_IN_FLIGHT
    assert lanes.start() == []


def test_what_is_remembered_is_recalled_in_its_order_when_there_is_room() -> None:
    lanes = Lanes()
    lanes.give(some(lanes.room("ep_1")))
    lanes.remember({"ep_1": ["dlv_a", "dlv_b"]})
    lanes.remember({"ep_1": ["dlv_b", "dlv_c"]})
    full = lanes.recall()

    for one in lanes.start():
        lanes.land(ended(one))

    assert full == {}
    assert lanes.recall() == {"ep_1": ["dlv_a", "dlv_b", "dlv_c"]}
    assert lanes.recall() == {}


def test_an_endpoint_of_which_nothing_is_remembered_may_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.lanes, "MOST_HINTS", 0)
    monkeypatch.setattr(workers.lanes, "MOST_LANES", 1)
    lanes = Lanes()
    lanes.remember({"ep_idle": ["dlv_a"]})

    lanes.give(some(1, "ep_busy"))

    assert lanes.recall() == {}


def test_no_endpoint_is_remembered_so_well_that_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.lanes, "MOST_HINTS", 1_000)
    lanes = Lanes()
    for n in range(20):
        lanes.remember({"ep_long": [f"dlv_{n}_{each}" for each in range(1_000)]})
    lanes.remember({"ep_short": ["dlv_short"]})

    recalled: list[str] = []
    while found := lanes.recall():
        recalled += chain(*found.values())

    assert sorted(recalled) == sorted([*(f"dlv_0_{each}" for each in range(500)), "dlv_short"])


def test_what_was_to_start_and_does_not_leaves_its_place() -> None:
    lanes = Lanes()
    lanes.give(some(FIRST_SHARE + 1))
    first, *_ = lanes.start()

    lanes.abandon(first)

    assert len(lanes.start()) == 1


def test_idle_lanes_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.lanes, "MOST_LANES", 3)
    lanes = Lanes()
    lanes.give(some(1, "ep_busy"))
    for n in range(10):
        lanes.give(some(1, f"ep_{n}"))
        for one in lanes.start():
            if one.endpoint_id != "ep_busy":
                lanes.land(ended(one))

    assert len(lanes._lanes) == 3
    assert "ep_busy" in lanes._lanes


@IN_MEMORY
@given(st.lists(st.sampled_from(["give", "start", "land", "fail", "rest", "abandon"]), max_size=60), st.data())
def test_nothing_is_lost_and_nothing_is_carried_twice(steps: list[str], data: st.DataObject) -> None:
    lanes, flying, given, over = Lanes(), list[Claimed](), list[Claimed](), list[Claimed]()
    for step in steps:
        if step == "give":
            fresh = some(data.draw(st.integers(1, 30)), data.draw(st.sampled_from(["ep_a", "ep_b", "ep_c"])))
            given += fresh
            lanes.give(fresh)
        elif step == "start":
            flying += lanes.start()
        elif flying:
            one = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            over.append(one)
            if step == "abandon":
                lanes.abandon(one)
            else:
                how = {"land": ended(one), "fail": timed_out(one), "rest": ended(one, Outcome.REFUSED, code=503)}
                over += lanes.land(how[step])
        assert lanes.in_flight == len(flying)

    left = lanes.clear()

    carried = [one.id for one in (*flying, *over, *left)]
    assert sorted(carried) == sorted(one.id for one in given)
    assert lanes.start() == []


def test_a_lane_that_was_held_up_goes_on_when_places_are_free() -> None:
    lanes = Lanes()
    for n in range(MOST_IN_FLIGHT):
        lanes.give(some(1, f"ep_{n}"))
    flying = lanes.start()
    lanes.give(some(3, "ep_late"))
    held_up = lanes.start()

    for one in flying[:10]:
        lanes.land(ended(one))

    assert held_up == []
    assert [one.endpoint_id for one in lanes.start()] == ["ep_late"] * 3
