"""Kill anything while webhooks flow. Afterwards everybody agrees, nothing is lost, nothing happened twice."""

import json
import random
import time
from pathlib import Path

import pytest

from cli.stage import Stage
from tests.chaos.trouble import (
    Trouble,
    broken_promises,
    crash_postgres,
    crash_redis,
    flush_redis,
    kill,
    payouts_keep_coming,
    restart_postgres,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # PostgreSQL's own user must get through when root runs this
    return folder


def test_a_killed_receiver_and_worker_and_a_flushed_queue_lose_nothing(stage_folder: Path) -> None:
    with Stage(stage_folder, seed=11) as stage:
        with payouts_keep_coming(stage, 40, every_seconds=0.05):
            for trouble in (kill("receiver"), kill("worker"), flush_redis):
                time.sleep(0.6)  # let work pile up in between
                trouble(stage)

        verdict = stage.wait_settled(240)  # a killed worker keeps its deliveries for their lease, 45 s, maybe twice

        assert broken_promises(stage, verdict) == []


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(1, 6))
def test_whatever_dies_while_webhooks_flow_everybody_agrees_in_the_end(stage_folder: Path, seed: int) -> None:
    troubles: list[Trouble] = [
        kill("receiver"), kill("worker"), kill("reconciler"), kill("reconciler-2"),
        flush_redis, crash_redis, restart_postgres, crash_postgres,
    ]  # fmt: skip
    dice = random.Random(seed)
    dice.shuffle(troubles)
    with Stage(stage_folder, seed=seed, reconcilers=2) as stage:
        with payouts_keep_coming(stage, 240, every_seconds=0.06):
            for trouble in troubles * 2:
                time.sleep(dice.uniform(0.3, 1.5))
                trouble(stage)

        verdict = stage.wait_settled(180)

        assert broken_promises(stage, verdict) == []
        print(
            json.dumps(
                {
                    "seed": seed,
                    "events": verdict.events,
                    "webhooks": verdict.stats["webhooks"],
                    "polled": verdict.polled,
                }
            )
        )
