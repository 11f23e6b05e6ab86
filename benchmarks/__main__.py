"""`python -m benchmarks [--seconds N] [--rounds R] [--only ingest,apply,…]`: measure, print, append to results.md."""

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import apply, claims, create, deliver, fairness, ingest, machine, recovery, story, verify
from benchmarks.ground import Ground
from benchmarks.tables import Figure

RESULTS: Final = Path(__file__).parent / "results.md"

FIGURES: Final[dict[str, Callable[[Ground, float, int], list[Figure]]]] = {
    "ingest": ingest.measure,
    "verify": verify.measure,
    "apply": apply.measure,
    "deliver": deliver.measure,
    "claims": claims.measure,
    "fairness": fairness.measure,
    "create": create.measure,
    "story": story.measure,
    "latency": story.latency,
    "recovery": recovery.measure,
    "memory": story.memory,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load per variant and round (3)")
    parser.add_argument("--rounds", type=int, default=4, help="in which the variants take turns (4)")
    parser.add_argument("--only", default=",".join(FIGURES), help=f"some of {','.join(FIGURES)}")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(FIGURES):
        parser.error(f"no figure {', '.join(sorted(unknown))}")
    return arguments


def main() -> int:
    """Measure what was asked for. Returns 1 when a target is missed."""
    arguments = _arguments()
    figures: list[Figure] = []
    with Ground() as ground:
        head = machine.describe(ground.real.database_url, ground.real.redis_url, ground.folder)
        print(head, flush=True)
        for name in arguments.only:
            for figure in FIGURES[name](ground, arguments.seconds, arguments.rounds):
                figures.append(figure)
                print(figure.text(), flush=True)
    _append(head, figures)
    return 0 if all(check.holds for figure in figures for check in figure.checks) else 1


def _append(head: str, figures: list[Figure]) -> None:
    title = f"## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`python -m benchmarks {shlex.join(sys.argv[1:])}`\n"
    with RESULTS.open("a") as results:
        results.write("\n".join([title, head, *(figure.text() for figure in figures), ""]))


if __name__ == "__main__":
    sys.exit(main())
