"""Ten minutes of anything at all at every verifier, event key and parser. `RATCHET_FUZZ_SECONDS` makes it shorter.

Three kinds of requests: a stranger's, made of noise; a good one that was tampered with; and one of a gateway gone mad,
which signs properly whatever it writes. Each round draws examples under a seed and tries each on every connector; a
failure names its seed, and `RATCHET_FUZZ_SEED=… RATCHET_FUZZ_SECONDS=1 make chaos ARGS="-k fuzz"` finds it again.
"""

import base64
import gzip
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import connectors
from connectors._base import Connector, InvalidSignature, Reason, UnreadableEvent, Verified, WebhookRequest
from tests.connectors.anything import PIECES, assert_storable, assert_well_formed, json_values, with_a_leaf_replaced
from tests.connectors.sample import NOW, Headers, Sample, connector_of, sample_of

SECONDS: Final = float(os.environ.get("RATCHET_FUZZ_SECONDS", "600"))
FIRST_SEED: Final = int(os.environ.get("RATCHET_FUZZ_SEED", time.time_ns() % 10**9))
EXAMPLES: Final = 200
"""In each round; drawing one costs more than trying it on every connector."""
PROGRESS_SECONDS: Final = 30.0
LONGEST_BODY: Final = 256 * 1024
SLOWEST_SECONDS: Final = 5.0
"""A call that takes longer on a busy machine is a regular expression, or a loop, that a stranger can keep busy."""

Change = Callable[[bytes], bytes]

# --- noise

_written = st.text(st.characters(), max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
_coded = st.tuples(st.text(max_size=40), st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp1252"])).map(
    lambda pair: pair[0].encode(pair[1], "replace")
)
_packed = st.binary(max_size=80).flatmap(
    lambda some: st.sampled_from([gzip.compress(some, mtime=0), base64.b64encode(some), some.hex().encode()])
)
_long = st.tuples(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=4), st.integers(1, LONGEST_BODY)).map(
    lambda pair: (pair[0] * pair[1])[: min(pair[1], LONGEST_BODY)]
)
_pieces = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)
noise: Final = st.binary(max_size=120) | _written | _coded | _packed | _pieces | _long

# --- changes to what is good


def _cut(text: bytes, at: int, other: int) -> tuple[bytes, bytes, bytes]:
    """Return a text in three parts; where it is cut follows from two numbers."""
    first, last = sorted((at % (len(text) + 1), other % (len(text) + 1)))
    return text[:first], text[first:last], text[last:]


def _edit(kind: str, at: int, other: int, put: bytes) -> Change:
    def change(text: bytes) -> bytes:
        before, middle, after = _cut(text, at, other)
        edited = {
            "flip": lambda: before + bytes([(middle or b"\0")[0] ^ (1 << at % 8)]) + middle[1:] + after,
            "delete": lambda: before + after,
            "double": lambda: before + middle + middle + after,
            "insert": lambda: before + put + middle + after,
            "replace": lambda: before + put + after,
            "turn": lambda: after + middle + before,
            "upper": lambda: before + middle.swapcase() + after,
        }[kind]()
        return edited[:LONGEST_BODY]

    return change


changes: Final = st.lists(
    st.builds(
        _edit,
        st.sampled_from(["flip", "delete", "double", "insert", "replace", "turn", "upper"]),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        noise,
    ),
    min_size=1,
    max_size=4,
)


def _changed(text: bytes, edits: Sequence[Change]) -> bytes:
    for edit in edits:
        text = edit(text)
    return text


# --- the three kinds of requests


@dataclass(frozen=True)
class Stranger:
    """Noise, under the names of the gateway's own headers or under any."""

    headers: list[tuple[int | bytes, bytes]]
    body: bytes | None
    """None is the good one."""
    secrets: list[str]
    path: str

    def against(self, sample: Sample) -> tuple[WebhookRequest, list[str]]:
        """Return the request, and the secrets that are live besides."""
        names = [name for name, _ in sample.request().headers]
        headers = [(names[of % len(names)] if isinstance(of, int) else of, value) for of, value in self.headers]
        return WebhookRequest(headers, sample.body if self.body is None else self.body, path=self.path), self.secrets


@dataclass(frozen=True)
class Tampering:
    """A good request with something changed."""

    how: str
    at: int
    name: bytes
    value: bytes
    header_edits: list[Change]
    body_edits: list[Change]

    def against(self, sample: Sample) -> WebhookRequest:
        """Return the request."""
        good = sample.request()
        return WebhookRequest(self._headers(list(good.headers)), _changed(good.body, self.body_edits))

    def _headers(self, good: Headers) -> Headers:
        at = self.at % len(good)
        (name, value), before, after = good[at], good[:at], good[at + 1 :]
        return {
            "nothing": good,
            "drop": [*before, *after],
            "repeat": [*good, (name, value)],
            "edit": [*before, (name, _changed(value, self.header_edits)), *after],
            "add another value": [*good, (name, self.value)],
            "put another value first": [(name, self.value), *good],
            "rename": [*before, (self.name, value), *after],
            "add": [*good, (self.name, self.value)],
            "turn around": good[::-1],
        }[self.how]


@dataclass(frozen=True)
class Madness:
    """The gateway itself signs whatever this is."""

    place: int
    value: Any
    edits: list[Change]
    noise: bytes | None

    def against(self, sample: Sample) -> WebhookRequest:
        """Return the request, properly signed."""
        if self.noise is not None:
            return sample.request(body=self.noise)
        return sample.request(body=_changed(with_a_leaf_replaced(sample.body, self.place, self.value), self.edits))


HOW: Final = ("nothing", "drop", "repeat", "edit", "add another value", "put another value first")
HOW_ELSE: Final = ("rename", "add", "turn around")
_some: Final = changes | st.just([])
_index: Final = st.integers(0, 2**16)
attacks: Final = (
    st.builds(
        Stranger,
        st.lists(st.tuples(st.integers(0, 7) | noise, noise), max_size=6),
        st.none() | noise,
        st.lists(st.text(max_size=20), max_size=3),
        st.text(max_size=20),
    )
    | st.builds(Tampering, st.sampled_from([*HOW, *HOW_ELSE]), _index, noise.map(bytes.lower), noise, changes, _some)
    | st.builds(Madness, _index, json_values, _some, st.none() | st.none() | noise)
)

# --- what must hold


class Campaign:
    """One connector under fire, and what came of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sample: Sample = sample_of(name)
        self.connector: Connector = connector_of(name)
        self.outcomes: Counter[str] = Counter()
        self.slowest_seconds = 0.0

    def fire(self, attack: Stranger | Tampering | Madness) -> None:
        """Send one request and look whether it was right to believe it."""
        good = self.sample.request()
        if isinstance(attack, Stranger):
            request, secrets = attack.against(self.sample)
            assert not self._is_believed(request, [*secrets, self.sample.secret]), f"a stranger got into {self.name}"
        elif isinstance(attack, Tampering):
            request = attack.against(self.sample)
            is_in = self._is_believed(request, [self.sample.secret])
            assert not is_in or request.body == good.body, f"another body got into {self.name}"
            if request.headers == list(good.headers):
                assert is_in == (request.body == good.body), f"{self.name} refuses what it has signed"
        else:
            request = attack.against(self.sample)
            is_in = self._is_believed(request, [self.sample.secret])
            # Cashfree puts nothing between time and body: a body that begins with a digit could be another's time.
            is_ambiguous = self.name == "cashfree" and request.body[:1].isdigit()
            assert is_in or is_ambiguous, f"{self.name} refuses what it has signed"

    def _is_believed(self, request: WebhookRequest, secrets: list[str]) -> bool:
        """Verify; and whether believed or not, its event key is short and its body is read or unreadable."""
        started = time.perf_counter()
        outcome = self._verified(request, secrets)
        assert_storable(self.connector.event_key(request))
        self.outcomes[self._parsed(request.body)] += 1
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - started)
        assert self.slowest_seconds < SLOWEST_SECONDS, f"{self.name} can be kept busy"
        self.outcomes[outcome] += 1
        return outcome == BELIEVED

    def _verified(self, request: WebhookRequest, secrets: list[str]) -> str:
        try:
            verified = self.connector.verify(request, secrets, NOW)
        except InvalidSignature as refused:
            return Reason(refused.reason)
        assert isinstance(verified, Verified)
        return BELIEVED

    def _parsed(self, body: bytes) -> str:
        try:
            updates = self.connector.parse(body)
        except UnreadableEvent:
            return UNREADABLE
        for update in updates:
            assert_well_formed(update)
        return READ if updates else OTHER

    @property
    def requests(self) -> int:
        """How many were verified, keyed and parsed."""
        return sum(self.outcomes[outcome] for outcome in (BELIEVED, *Reason))

    def row(self) -> str:
        """Return the line of a table."""
        reasons = ", ".join(f"{reason} {self.outcomes[reason]:,}" for reason in Reason if self.outcomes[reason])
        numbers = [f"{number:,}" for number in (self.requests, *(self.outcomes[word] for word in WORDS))]
        return f"| {' | '.join([self.name, *numbers, reasons, f'{self.slowest_seconds * 1000:.0f}'])} |"


BELIEVED, READ, OTHER, UNREADABLE = WORDS = ("believed", "read", "about something else", "unreadable")


def a_round(campaigns: Sequence[Campaign], number: int) -> None:
    """Let every connector have the same examples."""
    phases = (Phase.generate, Phase.shrink)

    @seed(number)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=phases, suppress_health_check=[*HealthCheck])
    @given(attacks)
    def try_one(attack: Stranger | Tampering | Madness) -> None:
        for campaign in campaigns:
            campaign.fire(attack)

    try_one()


@pytest.mark.chaos
@pytest.mark.timeout(SECONDS * 2 + 300)
def test_nothing_but_the_listed_outcomes_ever_comes_of_a_webhook(capsys: pytest.CaptureFixture[str]) -> None:
    campaigns = [Campaign(name) for name in connectors.NAMES]
    started = told = time.monotonic()
    number = FIRST_SEED

    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    say(f"\nfuzzing {len(campaigns)} connectors for {SECONDS:.0f} s from seed {FIRST_SEED}")
    while time.monotonic() - started < SECONDS:
        try:
            a_round(campaigns, number)
        except BaseException:
            say(f"RATCHET_FUZZ_SEED={number} finds it again")
            raise
        number += 1
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"{told - started:.0f} s, {sum(one.requests for one in campaigns):,} requests")

    say(f"| connector | requests | {' | '.join(WORDS)} | refused | slowest, ms |")
    say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for campaign in campaigns:
        say(campaign.row())
    total = sum(one.requests for one in campaigns)
    say(f"seeds {FIRST_SEED} to {number - 1}: {total:,} requests in {time.monotonic() - started:.0f} s")
    assert all(one.outcomes[BELIEVED] and one.outcomes[READ] for one in campaigns)
