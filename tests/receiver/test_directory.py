"""The directory: fresh enough, quick, and not to be driven by strangers."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

import receiver.directory
from connectors._base import Account
from connectors.paycore import PayCore
from models.database import transaction
from models.integration import Integration
from receiver.directory import Directory, Listener, load
from tests.factories import SECRET, an_integration


def a_listener(slug: str = "paycore", number: int = 1) -> Listener:
    return Listener(number, slug, PayCore(Account()), (SECRET,))


class Register:
    """What `load` reads, how often, and whether it can be read."""

    def __init__(self, *slugs: str) -> None:
        self.slugs = list(slugs)
        self.loads = 0
        self.answered = threading.Event()
        self.is_away = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def swallows(self) -> threading.Event:
        """Answer no read from now on, until `may_answer` is another event; those that began wait for this one."""
        self.may_answer.clear()
        return self.may_answer

    def __call__(self) -> Mapping[str, Listener]:
        self.loads += 1
        assert self.may_answer.wait(20)
        if self.is_away:
            raise ConnectionError("away")
        self.answered.set()
        return {slug: a_listener(slug, n) for n, slug in enumerate(self.slugs, 1)}


def run(register: Register, work: Callable[[Directory], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        directory = Directory(register)
        found = await work(directory)
        register.may_answer.set()
        if directory._renewal:
            await directory._renewal
        return found

    with capture_logs():
        return asyncio.run(main())


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_pace(**seconds: float) -> None:
        for name, value in seconds.items():
            monkeypatch.setattr(receiver.directory, name.upper() + "_SECONDS", value)

    return set_pace


def test_what_is_known_costs_no_query() -> None:
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        for _ in range(100):
            found = await directory.find("paycore")
            assert found is not None
            assert found.slug == "paycore"

    run(register, work)

    assert register.loads == 1


def test_strangers_do_not_make_us_query_at_their_pace() -> None:
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        assert set(await asyncio.gather(*[directory.find(f"stranger-{n}") for n in range(1000)])) == {None}
        for n in range(1000):
            assert await directory.find(f"stranger-{n}") is None

    run(register, work)

    assert register.loads == 1


def test_strangers_at_once_share_one_query(pace: Callable[..., None]) -> None:
    pace(ask_again=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        await directory.find("paycore")
        register.may_answer.clear()
        asking = [asyncio.create_task(directory.find(f"stranger-{n}")) for n in range(100)]
        await asyncio.sleep(0)
        register.may_answer.set()
        assert set(await asyncio.gather(*asking)) == {None}

    run(register, work)

    assert register.loads == 2


def test_strangers_do_not_make_us_query_a_database_that_is_away_at_their_pace() -> None:
    register = Register("paycore")
    register.is_away = True

    async def work(directory: Directory) -> None:
        for n in range(1000):
            with pytest.raises(ConnectionError):
                await directory.find(f"stranger-{n}")

    run(register, work)

    assert register.loads == 1


def test_a_new_integration_is_found_once_it_may_be_asked_for_again(pace: Callable[..., None]) -> None:
    pace(ask_again=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> Listener | None:
        assert await directory.find("new") is None
        register.slugs.append("new")
        return await directory.find("new")

    assert run(register, work)


def test_what_was_known_stays_known_while_the_database_is_away(pace: Callable[..., None]) -> None:
    pace(fresh=0.0, ask_again=0.0, old=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        await directory.find("paycore")
        register.is_away = True
        for _ in range(5):
            assert await directory.find("paycore")
        with pytest.raises(ConnectionError):
            await directory.find("perhaps-new")
        register.is_away = False
        assert await directory.find("perhaps-new") is None

    run(register, work)


def test_a_fresh_enough_answer_does_not_wait_for_its_renewal(pace: Callable[..., None]) -> None:
    pace(fresh=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        await directory.find("paycore")
        register.may_answer.clear()
        started = time.monotonic()
        assert await directory.find("paycore")
        assert time.monotonic() - started < 1

    run(register, work)


def test_after_a_long_quiet_the_first_webhook_waits_for_the_renewal(pace: Callable[..., None]) -> None:
    pace(fresh=0.0, old=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> Listener | None:
        await directory.find("paycore")
        register.slugs.clear()
        return await directory.find("paycore")

    assert run(register, work) is None


def test_a_database_that_swallows_questions_holds_nobody_up_and_is_found_again_by_itself(
    pace: Callable[..., None],
) -> None:
    pace(fresh=0.0, ask_again=0.0, old=0.0)
    register = Register("paycore")

    async def work(directory: Directory) -> None:
        await directory.find("paycore")
        stuck = register.swallows()
        pace(renewal=0.05)
        started = time.monotonic()
        for _ in range(5):
            assert await directory.find("paycore")
        with pytest.raises(TimeoutError):
            await directory.find("perhaps-new")
        assert time.monotonic() - started < 2
        pace(renewal=5.0)
        register.slugs.append("perhaps-new")
        register.may_answer = threading.Event()
        register.may_answer.set()
        try:
            assert await directory.find("perhaps-new")
            assert await directory.find("paycore")
        finally:
            stuck.set()

    run(register, work)


def test_an_answer_that_nobody_waited_for_does_not_overwrite_a_later_one(pace: Callable[..., None]) -> None:
    pace(fresh=0.0, ask_again=0.0, renewal=0.05)
    register = Register("paycore")

    async def work(directory: Directory) -> Listener | None:
        stuck = register.swallows()
        with pytest.raises(TimeoutError):
            await directory.find("paycore")
        pace(renewal=5.0)
        register.may_answer = threading.Event()
        register.may_answer.set()
        assert await directory.find("paycore")
        register.slugs.clear()
        register.answered.clear()
        stuck.set()
        await asyncio.to_thread(register.answered.wait, 20)
        await asyncio.sleep(0.05)  # on its way back into the loop
        return directory._listeners.get("paycore")

    assert run(register, work)


def test_metrics_get_a_slug_for_every_id() -> None:
    async def work(directory: Directory) -> list[str]:
        await directory.find("paycore")
        return [directory.slug(1), directory.slug(99)]

    assert run(Register("paycore"), work) == ["paycore", "gone"]


def test_only_active_integrations_are_loaded(database: None) -> None:
    active, inactive = an_integration(), an_integration(is_active=False)

    listeners = load()

    assert active.slug in listeners
    assert inactive.slug not in listeners


def test_an_integration_that_cannot_be_opened_does_not_hide_the_others(database: None) -> None:
    good, sealed_with_a_lost_key, of_no_connector = an_integration(), an_integration(), an_integration()
    with transaction() as session:
        session.get_one(Integration, sealed_with_a_lost_key.id).sealed = b"not ours"
        session.get_one(Integration, of_no_connector.id).connector = "gone"

    with capture_logs() as lines:
        listeners = load()

    assert list(listeners) == [good.slug]
    assert {line["integration"] for line in lines} == {sealed_with_a_lost_key.slug, of_no_connector.slug}


def test_a_listener_does_not_print_its_secrets(database: None) -> None:
    slug = an_integration().slug

    assert SECRET not in repr(load()[slug])
