"""Submit payouts, each in a process of its own that SIGKILLs itself before a given line of the submission.

`python -m tests.workers.killing '[["mollie", "pay_…", 17], …]'` prints how many lines each process executed, or null
where it was killed. A line counts in the rules, the actor and whatever of the connectors runs. Processes are forked
from one that has imported everything and opened nothing: importing anew takes half a second, forking milliseconds.
"""

import json
import os
import signal
import sys
import threading
import time
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Final

import connectors
import payouts.submit
import workers.submit
from models.payout import SubmissionState
from tests.factories import get_payout

TRACED: Final = (
    str(Path(payouts.submit.__file__)),
    str(Path(workers.submit.__file__)),
    str(Path(connectors.__file__).parent) + os.sep,
)
LIMIT_SECONDS: Final = 20.0
ALIVE: Final = 0


class Executioner:
    """Counts the lines that every thread executes, and kills the process before the n-th."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._numbers = count(1)
        self.lines = 0

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """See `sys.settrace`."""
        del event, argument
        return self._line if frame.f_code.co_filename.startswith(TRACED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        del frame, argument
        if event == "line":
            self.lines = number = next(self._numbers)
            if number == self._fatal:  # not `self.lines`: another thread's line may have come meanwhile
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def submit_in_a_process(payout_id: str, fatal: int) -> int | None:
    """Return how many lines it took, or None where the fatal one came."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, str(_submit(payout_id, fatal)).encode())
        os._exit(ALIVE)
    os.close(writing)
    with os.fdopen(reading) as said:
        lines = said.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return None
    assert os.WEXITSTATUS(status) == ALIVE, status
    return int(lines)


def _submit(payout_id: str, fatal: int) -> int:
    executioner = Executioner(fatal)
    threading.settrace(executioner.trace)
    sys.settrace(executioner.trace)
    workers.submit.submit(payout_id)
    sys.settrace(None)
    threading.settrace(None)
    deadline = time.monotonic() + LIMIT_SECONDS
    while get_payout(payout_id).submission in {SubmissionState.UNSENT, SubmissionState.SENDING}:
        assert time.monotonic() < deadline, "it was never concluded"
        time.sleep(0.01)
    _until_idle(executioner, deadline)
    return executioner.lines


def _until_idle(executioner: Executioner, deadline: float) -> None:
    """What follows the last commit has lines, too."""
    seen = -1
    while executioner.lines != seen and time.monotonic() < deadline:
        seen = executioner.lines
        time.sleep(0.05)


def main(wanted: list[tuple[str, str, int]]) -> None:
    """Do it, one after the other."""
    for name in {name for name, _, _ in wanted}:
        connectors.connector_class(name)  # its module's own lines are not the submission's
    print(json.dumps([submit_in_a_process(payout_id, fatal) for _, payout_id, fatal in wanted]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
