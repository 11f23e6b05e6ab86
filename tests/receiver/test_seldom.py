"""What strangers may ask for is read seldom, and by one at a time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from receiver.seldom import Seldom

HOURS = 9_999.0


class Source:
    """What is read, how often, and whether it can be."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_away = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> int:
        self.reads += 1
        self.may_answer.wait(20)
        if self.is_away:
            raise ConnectionError("away")
        return self.reads


async def begun(*asking: Awaitable[Any]) -> list["asyncio.Future[Any]"]:
    tasks = [asyncio.ensure_future(one) for one in asking]
    await asyncio.sleep(0)
    return tasks


def run(source: Source, seconds: float, work: Callable[[Seldom[int]], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work(Seldom(source, seconds))

    return asyncio.run(main())


def test_those_who_ask_at_once_share_one_reading() -> None:
    source = Source()
    source.may_answer.clear()

    async def work(seldom: Seldom[int]) -> list[int]:
        tasks = await begun(*[seldom.get() for _ in range(50)])
        source.may_answer.set()
        return await asyncio.gather(*tasks)

    assert run(source, 0, work) == [1] * 50


@pytest.mark.parametrize(("seconds", "answers"), [(HOURS, [1, 1]), (0, [1, 2])])
def test_an_answer_holds_for_so_long_and_is_read_again_then(seconds: float, answers: list[int]) -> None:
    async def work(seldom: Seldom[int]) -> list[int]:
        return [await seldom.get(), await seldom.get()]

    assert run(Source(), seconds, work) == answers


def test_what_cannot_be_read_is_not_asked_for_at_a_strangers_pace_either() -> None:
    source = Source()
    source.is_away = True

    async def work(seldom: Seldom[int]) -> None:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await seldom.get()

    run(source, HOURS, work)

    assert source.reads == 1


def test_whoever_hangs_up_leaves_the_others_their_answer() -> None:
    source = Source()
    source.may_answer.clear()

    async def work(seldom: Seldom[int]) -> int:
        impatient, patient = await begun(seldom.get(), seldom.get())
        impatient.cancel()
        await asyncio.sleep(0)
        source.may_answer.set()
        return int(await patient)

    assert run(source, HOURS, work) == 1
