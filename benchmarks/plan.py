"""What the load generator is told and what it answers; both cross a process border as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run sends where."""

    port: int
    requests: str
    """A file written by `write_requests`."""
    answer: str
    """The file that gets the `Outcome` as JSON."""
    seconds: float
    connections: int = 64
    rate: float | None = None
    """Requests a second; None is a closed loop."""
    core: int | None = None
    first: int = 0
    """Where in the file to begin, so that a later run sends other requests."""
    keep_times: bool = False
    second_port: int | None = None
    """Where every other connection goes, to have two processes share the work."""


@dataclass(slots=True)
class Outcome:
    """What came of a plan."""

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    lost: int = 0
    """Connections that closed with a request under way."""
    started_at: float = 0.0
    """Monotonic seconds, comparable between the processes of one machine."""
    ended_at: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    most_ms: float = 0.0
    sent_at: list[float] = field(default_factory=list)
    """When each request was due, where the plan asks for it."""

    @property
    def rate(self) -> float:
        """Return accepted requests a second."""
        return self.accepted / max(self.ended_at - self.started_at, 1e-9)


def write_requests(file: Path, requests: Iterable[bytes]) -> None:
    """Write requests, each behind its length."""
    with file.open("wb") as stream:
        for request in requests:
            stream.write(len(request).to_bytes(4, "big") + request)


def read_requests(file: Path) -> list[bytes]:
    """Read what `write_requests` wrote."""
    whole, requests, at = file.read_bytes(), [], 0
    while at < len(whole):
        end = at + 4 + int.from_bytes(whole[at : at + 4], "big")
        requests.append(whole[at + 4 : end])
        at = end
    return requests


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which `share` of the values lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
