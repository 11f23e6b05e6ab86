"""Hints: gathered, bounded, and never in a gateway's way."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

import receiver.hints
from receiver.hints import Hints
from tests.concurrency import wait_until


def with_hints(send: Callable[[Sequence[int]], None], work: Callable[[Hints], Awaitable[Any]]) -> None:
    async def run() -> None:
        hints = Hints(send)
        try:
            await work(hints)
        finally:
            await hints.close()

    asyncio.run(run())


def test_ids_of_a_moment_are_one_hint_in_their_order() -> None:
    sent: list[list[int]] = []

    async def work(hints: Hints) -> None:
        for n in range(10):
            hints.add([n, n + 100])

    with_hints(lambda ids: sent.append(list(ids)), work)

    assert sent == [[number for n in range(10) for number in (n, n + 100)]]


def test_a_queue_that_is_away_is_nobodys_problem() -> None:
    calls: list[Sequence[int]] = []

    def send(ids: Sequence[int]) -> None:
        calls.append(ids)
        if len(calls) == 1:
            raise redis.ConnectionError("away")

    async def work(hints: Hints) -> None:
        hints.add([1])
        await asyncio.to_thread(wait_until, lambda: len(calls) == 1)
        hints.add([2])

    with_hints(send, work)

    assert calls == [[1], [2]]


def test_a_queue_that_hangs_holds_up_nobody_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.hints, "MOST_WAITING", 100)
    may_go, hanging = threading.Event(), threading.Event()
    sent: list[Sequence[int]] = []

    def send(ids: Sequence[int]) -> None:
        hanging.set()
        may_go.wait(20)
        sent.append(ids)

    async def work(hints: Hints) -> None:
        hints.add([0])
        await asyncio.to_thread(hanging.wait, 20)
        for n in range(1, 1000):
            hints.add([n])
        may_go.set()

    with capture_logs() as lines:
        with_hints(send, work)

    assert [number for ids in sent for number in ids] == list(range(101))
    assert [line["events"] for line in lines if line["event"] == "hints.left_to_sweep"] == [899]


def test_closing_sends_what_waits() -> None:
    sent: list[Sequence[int]] = []

    async def work(hints: Hints) -> None:
        hints.add([1, 2, 3])

    with_hints(sent.append, work)

    assert sent == [[1, 2, 3]]


def test_closing_without_a_hint_is_nothing() -> None:
    async def work(_: Hints) -> None:
        return

    with_hints(lambda _: pytest.fail("nothing to send"), work)
