"""SIGKILL at every line of a submission. No payout is ever submitted twice, and each ends as its gateway says."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

import pytest
from freezegun import freeze_time
from sqlalchemy import text
from structlog.testing import capture_logs

from models.database import transaction
from models.lifecycle import IN_FLIGHT
from models.payout import Payout, SubmissionState
from payouts.ask import take_due
from tests.concurrency import wait_until
from tests.factories import get_payout
from tests.sandbox.stand import Stand
from tests.servers import a_process, log_of
from tests.workers.sandboxes import an_integration_at, an_unsent_payout
from workers.outside import outside
from workers.poll import poll
from workers.submit import submit

NAMES = ("mollie", "fedapay", "paycore", "zopay")
OPTIONS = {"zopay": {"expired_is_unpaid": True}}
"""What lets the sandbox's word be the last one."""
SAMPLE = 10
NEVER = 0
LONGEST_SECONDS = 600
LATER = timedelta(hours=3)
"""Longer than these gateways' visibility windows, and than any quote."""


@pytest.fixture
def stand(stand: Stand) -> Stand:
    stand.behave(fedapay_bodies="wrapped")  # lines are counted, and a bare body takes others
    return stand


def _killed(stand: Stand, name: str, lines: "list[int] | range") -> list[tuple[Payout, int | None]]:
    """Submit one payout for each of these lines and be killed there; return what each process said."""
    integration = an_integration_at(stand, name, options=OPTIONS.get(name, {}))
    payouts = [an_unsent_payout(integration) for _ in lines]
    wanted = [[name, payout.id, line] for payout, line in zip(payouts, lines, strict=True)]
    with a_process("-m", "tests.workers.killing", json.dumps(wanted)) as process:
        assert process.wait(LONGEST_SECONDS) == 0, log_of(process)
        said = json.loads(log_of(process).splitlines()[-1])
    return list(zip(payouts, said, strict=True))


def _submissions(stand: Stand) -> dict[str, int]:
    return {one["order_key"]: one["submissions"] for one in stand.truth()}


def _recover() -> None:
    """Let time pass as the reconciler does, until nobody is left whose outcome is unknown or who is in flight."""

    def is_over() -> bool:
        with transaction() as session:
            now = datetime.now(UTC)
            session.connection().execute(_MAKE_DUE, {"now": now})
            due = take_due(session, now, 1_000)
        for payout_id in due.to_submit:
            submit(payout_id)
        for ids in due.to_ask.values():
            poll(ids)
        wait_until(lambda: not asyncio.all_tasks(outside()._loop))
        return not _open()

    with capture_logs(), freeze_time(datetime.now(UTC) + LATER, tick=True, real_asyncio=True):
        wait_until(is_over)


_MAKE_DUE = text("UPDATE payout SET next_poll_at = :now WHERE next_poll_at IS NOT NULL")


def _open() -> int:
    with transaction() as session:
        return int(
            session.connection()
            .execute(
                text("SELECT count(*) FROM payout WHERE status = ANY(:in_flight) AND submission <> 'not_received'"),
                {"in_flight": sorted(IN_FLIGHT)},
            )
            .scalar_one()
        )


def _key(payout: Payout, name: str) -> str:
    """Return what the sandbox knows a payout by: ZoPay sees nothing of ours but the key of the call that pays."""
    if name == "zopay":
        return str(uuid5(NAMESPACE_URL, f"https://docs.zopay.cash/payouts#{payout.order_key}"))
    return payout.order_key


def _check(stand: Stand, name: str, killed: list[tuple[Payout, int | None]]) -> dict[str, int]:
    """Recover, and return how many were found in which state."""
    found = {payout.id: get_payout(payout.id).submission for payout, _ in killed}
    before = _submissions(stand)
    _recover()
    after = _submissions(stand)
    fates = {one["order_key"]: one["fate_status"] for one in stand.truth()}
    for payout, _ in killed:
        ended, key = get_payout(payout.id), _key(payout, name)
        assert after.get(key, 0) <= 1, (found[payout.id], before.get(key), after.get(key))
        if found[payout.id] == SubmissionState.UNSENT:
            assert before.get(key, 0) == 0, "nothing may leave before `sending` is committed"
        if key in after:
            assert (ended.submission, ended.status) == (SubmissionState.ACCEPTED, fates[key]), found[payout.id]
        else:
            assert ended.submission == SubmissionState.NOT_RECEIVED, found[payout.id]
    return {state: list(found.values()).count(state) for state in set(found.values())}


@pytest.mark.parametrize("name", ["fedapay", "zopay"])
def test_killed_at_some_lines_of_a_submission_it_is_never_submitted_twice(stand: Stand, name: str) -> None:
    ((_, number),) = _killed(stand, name, [NEVER])
    assert number is not None
    step = max(1, number // SAMPLE)

    killed = _killed(stand, name, range(1, number + 1, step))

    assert [said for _, said in killed] == [None] * len(killed)
    found = _check(stand, name, killed)
    assert found[SubmissionState.UNSENT] > 0
    assert found[SubmissionState.SENDING] > 0


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_line_of_a_submission_it_is_never_submitted_twice(stand: Stand, name: str) -> None:
    ((_, number),) = _killed(stand, name, [NEVER])
    assert number is not None

    killed = _killed(stand, name, range(1, number + 1))

    found = _check(stand, name, killed)
    survived = [said for _, said in killed if said is not None]
    print(f"{name}: killed at each of {number} lines, {len(survived)} came too late; found {found}")
    assert len(survived) <= number // 20, "only where this gateway's answers differ by some lines"
