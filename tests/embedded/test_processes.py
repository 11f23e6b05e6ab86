"""Programs are started, waited for and stopped; only ours."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embedded import binaries, processes
from embedded.binaries import NoServerProgram, postgres_folder, redis_server
from embedded.processes import DidNotStart, sole_use, start, stop, tail, wait_until

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)
PATIENT = "import time; print('ready', flush=True); time.sleep(60)"


def a_program(script: str, folder: Path) -> "subprocess.Popen[bytes]":
    process = start([sys.executable, "-c", script], folder / "log")
    wait_until(lambda: "ready" in tail(folder / "log"), process, folder / "log")
    return process


def test_a_program_that_ends_at_once_did_not_start_and_its_last_words_are_told(tmp_path: Path) -> None:
    process = start([sys.executable, "-c", "raise SystemExit('no room left')"], tmp_path / "log")

    with pytest.raises(DidNotStart, match=r"(?s)ended with 1; .*no room left"):
        wait_until(lambda: False, process, tmp_path / "log")


def test_a_program_that_stays_silent_did_not_start(tmp_path: Path) -> None:
    process = a_program(PATIENT, tmp_path)

    with pytest.raises(DidNotStart, match="is not ready"):
        wait_until(lambda: False, process, tmp_path / "log", seconds=0.05)
    stop(process)


def test_who_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    process = a_program(STUBBORN, tmp_path)

    stop(process, seconds=0.1)

    assert process.returncode == -signal.SIGKILL


def test_stopping_one_program_leaves_another_of_the_same_kind_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mine, other = a_program(PATIENT, tmp_path / "a"), a_program(PATIENT, tmp_path / "b")

    stop(mine)
    others_state = other.poll()
    stop(other)

    assert others_state is None


def test_stopping_what_has_ended_is_nothing(tmp_path: Path) -> None:
    process = a_program("print('ready')", tmp_path)
    process.wait(20)

    stop(process)

    assert process.returncode == 0


def test_the_log_is_appended_to_and_its_end_is_told(tmp_path: Path) -> None:
    for word in ("first", "second"):
        start([sys.executable, "-c", f"print('{word}')"], tmp_path / "deep" / "log").wait(20)

    assert tail(tmp_path / "deep" / "log") == "first\nsecond"
    assert tail(tmp_path / "deep" / "log", 1) == "second"
    assert tail(tmp_path / "nothing") == "(nothing)"


def test_a_folder_is_used_by_one_at_a_time_and_free_when_the_program_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "IN_USE_SECONDS", 0.1)
    with sole_use(tmp_path) as lock:
        process = start([sys.executable, "-c", PATIENT], tmp_path / "log", lock=lock)

    with pytest.raises(processes.InUse), sole_use(tmp_path):
        pass
    stop(process)

    with sole_use(tmp_path) as lock:
        assert lock


def test_programs_too_old_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_installed_postgres", lambda: [tmp_path])

    assert postgres_folder() != tmp_path


def test_without_any_program_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_installed_postgres", list)
    monkeypatch.setattr(binaries, "_package", lambda _: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(NoServerProgram, match=r"make setup.*DATABASE_URL"):
        postgres_folder()
    with pytest.raises(NoServerProgram, match=r"make setup.*REDIS_URL"):
        redis_server()


def test_the_programs_of_the_wheels_are_found() -> None:
    assert (postgres_folder(from_wheel=True) / "initdb").exists()
    assert redis_server(from_wheel=True).exists()
