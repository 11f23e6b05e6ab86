"""The courier against partners of every kind."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO

import pycurl
import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

import payouts.addresses
import workers.courier
from models.endpoint import EndpointSecrets, new_secret
from payouts.addresses import vet
from payouts.deliveries import Claimed, Finished, Outcome, Target
from settings import settings
from tests.concurrency import wait_until
from tests.workers.authority import Authority, a_partner_behind_tls
from tests.workers.partners import OK, Got, Partner, a_partner, endless, raw, status
from workers.courier import KEPT_OF_ANSWER, Courier
from workers.handles import Handle
from workers.lanes import FIRST_SHARE, MOST_IN_FLIGHT
from workers.writing import headers

SECRET = new_secret()
_numbers = count(1)


def a_claim(url: str, *, endpoint_id: str = "ep_1", payload: str = '{"type":"payout.delivered"}') -> Claimed:
    n = next(_numbers)
    until = datetime.now(UTC) + timedelta(seconds=45)
    to = Target(url, ("v1",), EndpointSecrets.of(SECRET).sealed())
    return Claimed(f"dlv_{n}", 1, endpoint_id, f"pay_{n}", f"evt_{n}", until, payload, to)


class Post:
    """A courier, and what it has reported."""

    def __init__(self) -> None:
        self.finished: list[Finished] = []
        self.returned: list[Claimed] = []
        self.courier = Courier(headers, self.finished.extend, self.returned.extend)

    def carry(self, *claims: Claimed) -> list[Finished]:
        """Hand these over and wait until all of them are reported."""
        before = len(self.finished)
        self.courier.take(claims)
        wait_until(lambda: len(self.finished) >= before + len(claims))
        return self.finished[before:]


@pytest.fixture
def post() -> Iterator[Post]:
    post = Post()
    yield post
    post.courier.stop(20)


@pytest.fixture
def partner() -> Iterator[Partner]:
    with a_partner() as partner:
        yield partner


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.courier, "ATTEMPT_TIMEOUT", timedelta(seconds=0.3))


def test_what_arrives_is_signed_so_that_the_public_library_verifies_it(post: Post, partner: Partner) -> None:
    claim = a_claim(partner.url + "/hooks?tenant=7", payload='{"type":"payout.delivered","name":"Ünal"}')

    (finished,) = post.carry(claim)

    (got,) = partner.got
    assert (finished.outcome, finished.status_code, finished.error) == (Outcome.DELIVERED, 200, None)
    assert (got.path, got.body) == ("/hooks?tenant=7", claim.payload.encode())
    assert Webhook(SECRET).verify(got.body, dict(got.headers)) == {"type": "payout.delivered", "name": "Ünal"}
    assert (got.headers["webhook-id"], got.headers["content-type"]) == (claim.event_id, "application/json")
    assert "expect" not in got.headers


def test_connections_are_kept(post: Post) -> None:
    with a_partner() as partner:
        for _ in range(5):
            post.carry(a_claim(partner.url))

    assert len(partner.got) == 5
    assert len({got.port for got in partner.got}) == 1


def test_a_kept_connection_that_its_partner_closes_is_let_go(post: Post) -> None:
    def answer_and_hang_up(stream: BinaryIO) -> None:
        OK(stream)
        raise ConnectionResetError

    def watches_one() -> bool:
        epoll = Path(f"/proc/self/fdinfo/{post.courier._epoll.fileno()}").read_text()
        return any(Path(f"/proc/self/fd/{fd}").is_socket() for fd in re.findall(r"tfd: +(\d+)", epoll))

    with a_partner(lambda _got, _nth: answer_and_hang_up) as partner:
        for _ in range(3):
            (finished,) = post.carry(a_claim(partner.url))
            wait_until(lambda: not watches_one())  # or its end would be reported again and again

            assert finished.outcome is Outcome.DELIVERED
    assert len({got.port for got in partner.got}) == 3


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_any_2xx_is_delivered(post: Post, code: int) -> None:
    with a_partner(lambda _got, _nth: status(code)) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.status_code) == (Outcome.DELIVERED, code)


@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_never_followed(post: Post, partner: Partner, code: int) -> None:
    with a_partner(lambda _got, _nth: status(code, location=partner.url)) as redirecting:
        (finished,) = post.carry(a_claim(redirecting.url))

    assert (finished.outcome, finished.status_code, finished.error) == (Outcome.REFUSED, code, f"answered {code}")
    assert partner.got == []


@pytest.mark.parametrize("code", [400, 401, 404, 410, 429, 500, 503])
def test_any_other_answer_is_refused_and_its_beginning_kept(post: Post, code: int) -> None:
    with a_partner(lambda _got, _nth: status(code, b"because " * 1000)) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.status_code) == (Outcome.REFUSED, code)
    assert finished.answer == (b"because " * 1000)[:KEPT_OF_ANSWER]


def test_a_port_that_nobody_listens_on_is_unreachable(post: Post) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (finished,) = post.carry(a_claim(f"http://127.0.0.1:{closed.getsockname()[1]}"))

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "could not connect")


def test_a_partner_that_never_answers_is_given_up_in_time(hurried: None, post: Post) -> None:
    may_answer = threading.Event()

    def script(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    with a_partner(script) as partner:
        (finished,) = post.carry(a_claim(partner.url))
        may_answer.set()

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "timed out")
    assert 250 <= finished.duration_ms < 5000


def test_an_answer_that_trickles_for_ever_is_given_up_in_time(hurried: None, post: Post) -> None:
    may_end = threading.Event()

    def trickle(stream: object) -> None:
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")  # type: ignore[attr-defined]
        while not may_end.wait(0.01):
            stream.write(b"x")  # type: ignore[attr-defined]

    with a_partner(lambda _got, _nth: trickle) as partner:
        (finished,) = post.carry(a_claim(partner.url))
        may_end.set()

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "timed out")


@pytest.mark.parametrize(("code", "outcome"), [(200, Outcome.DELIVERED), (500, Outcome.REFUSED)])
def test_an_endless_answer_is_cut_off_and_its_status_counts(post: Post, code: int, outcome: Outcome) -> None:
    script = endless(b"HTTP/1.1 %d So\r\nConnection: close\r\n\r\n" % code, b"x" * 65536)
    with a_partner(lambda _got, _nth: script) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.status_code) == (outcome, code)
    assert len(finished.answer) <= KEPT_OF_ANSWER


@pytest.mark.parametrize(
    "script",
    [
        raw(b"garbage\r\n\r\n"),
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        raw(b"\x00" * 1000),
        endless(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
    ],
    ids=["garbage", "nothing", "short", "nul", "endless headers"],
)
def test_an_answer_that_is_no_answer_is_unreachable(post: Post, script: Callable[..., None]) -> None:
    def answer_and_hang_up(stream: object) -> None:
        script(stream)
        raise ConnectionResetError

    with a_partner(lambda _got, _nth: answer_and_hang_up) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert finished.outcome is Outcome.UNREACHABLE
    assert finished.error


@pytest.mark.parametrize(
    "url",
    [
        "{url}/\r\nx-injected: yes",
        "{url}/ HTTP/1.1\r\nx-injected: yes\r\n\r\n",
        "{url}/\n",
        "{url}/\0",
        "file:///etc/hostname",
        "gopher://127.0.0.1:70/x",
        "ftp://127.0.0.1/x",
        "dict://127.0.0.1/x",
        "",
        "http://",
        "not a url",
        "http://ex\u00e4mple.test\ud800/",
    ],
)
def test_a_strange_url_reaches_nobody_and_injects_nothing(post: Post, partner: Partner, url: str) -> None:
    with capture_logs():
        (finished,) = post.carry(a_claim(url.format(url=partner.url)))
        (good,) = post.carry(a_claim(partner.url))

    assert finished.outcome is Outcome.UNREACHABLE
    assert finished.error
    assert good.outcome is Outcome.DELIVERED
    assert [got.headers.get("x-injected") for got in partner.got] == [None]


def test_a_secret_that_cannot_be_opened_is_reported_and_the_next_one_goes_out(post: Post, partner: Partner) -> None:
    broken = replace(a_claim(partner.url), to=Target(partner.url, ("v1",), b"not ours"))

    (finished,) = post.carry(broken)
    (good,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "CannotOpen")
    assert good.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_ignored(
    post: Post, partner: Partner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    (finished,) = post.carry(a_claim(partner.url))

    assert finished.outcome is Outcome.DELIVERED


# --- addresses


@pytest.fixture
def in_public(monkeypatch: pytest.MonkeyPatch) -> None:
    public = replace(settings(), private_endpoints=False)
    monkeypatch.setattr(payouts.addresses, "settings", lambda: public)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"],  # noqa: S104
)
def test_an_address_of_our_own_is_forbidden_at_the_moment_of_connecting(
    in_public: None, post: Post, partner: Partner, host: str
) -> None:
    (finished,) = post.carry(a_claim(partner.url.replace("127.0.0.1", host)))

    assert (finished.outcome, finished.error) == (Outcome.FORBIDDEN, "the address may not be dialled")
    assert partner.got == []


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "100.64.0.1", "[fd00:ec2::254]", "[64:ff9b::7f00:1]"])
def test_what_only_we_could_reach_is_forbidden(in_public: None, post: Post, host: str) -> None:
    (finished,) = post.carry(a_claim(f"http://{host}/latest/meta-data"))

    assert finished.outcome is Outcome.FORBIDDEN


def test_after_a_forbidden_attempt_a_failure_to_connect_is_unreachable_again(
    post: Post, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as public:
        known = replace(settings(), private_endpoints=False)
        public.setattr(payouts.addresses, "settings", lambda: known)
        forbidden = post.carry(a_claim(partner.url))[0].outcome

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        unreachable = post.carry(a_claim(f"http://127.0.0.1:{closed.getsockname()[1]}"))[0].outcome

    assert (forbidden, unreachable) == (Outcome.FORBIDDEN, Outcome.UNREACHABLE)


class Liar:
    """A resolver that has told the truth when the URL was saved, and now says something else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._make = workers.courier.Handle
        self._lies: list[str] = []
        monkeypatch.setattr(workers.courier, "Handle", self._new_handle)

    def say(self, host: str, port: int, *addresses: str) -> None:
        self._lies.append(f"{host}:{port}:{','.join(addresses)}")

    def _new_handle(self, timeout: timedelta) -> Handle:
        handle = self._make(timeout)
        handle.curl.setopt(pycurl.RESOLVE, self._lies)
        return handle


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Liar:
    return Liar(monkeypatch)


def test_a_name_that_resolves_to_something_else_when_dialled_reaches_nothing(
    post: Post, partner: Partner, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(partner.url.rpartition(":")[2])
    public = replace(settings(), private_endpoints=False, endpoint_ports=(443, port))
    with monkeypatch.context() as told:
        told.setattr(payouts.addresses, "settings", lambda: public)
        saved = vet(f"https://partner.example:{port}/hooks", lambda _host, _port: ["93.184.215.14"]).text
    liar.say("partner.example", port, "127.0.0.1")

    (at_home,) = post.carry(a_claim(saved.replace("https", "http")))
    monkeypatch.setattr(payouts.addresses, "settings", lambda: public)
    (in_public,) = post.carry(a_claim(saved.replace("partner", "PARTNER")))

    assert at_home.outcome is Outcome.DELIVERED  # so the lie works: without the check it would get there
    assert (in_public.outcome, in_public.error) == (Outcome.FORBIDDEN, "the address may not be dialled")
    assert len(partner.got) == 1


@pytest.mark.parametrize("addresses", [["10.0.0.1", "127.0.0.1"], ["::1", "127.0.0.1"], ["64:ff9b::7f00:1"]])
def test_none_of_several_addresses_is_dialled_when_none_may_be(
    in_public: None, post: Post, partner: Partner, liar: Liar, addresses: list[str]
) -> None:
    liar.say("partner.example", 8443, *addresses)

    (finished,) = post.carry(a_claim("https://partner.example:8443/"))

    assert finished.outcome is Outcome.FORBIDDEN


def test_http_is_not_dialled_in_public_even_if_the_url_was_saved_in_development(
    in_public: None, post: Post, liar: Liar
) -> None:
    liar.say("partner.example", 443, "93.184.215.14")

    (finished,) = post.carry(a_claim("http://partner.example:443/"))

    assert finished.outcome is Outcome.FORBIDDEN


# --- TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


def test_a_certificate_of_an_authority_that_this_machine_trusts_is_trusted(authority: Authority, post: Post) -> None:
    with a_partner_behind_tls(authority) as partner:
        (finished,) = post.carry(a_claim(partner.url + "/hooks"))

    assert finished.outcome is Outcome.DELIVERED
    assert len(partner.got) == 1


def test_a_certificate_for_another_name_is_not(authority: Authority, post: Post) -> None:
    with a_partner_behind_tls(authority, "partner.example") as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "certificate not trusted")
    assert partner.got == []


def test_a_certificate_of_an_authority_that_nobody_knows_is_not(tmp_path: Path, post: Post) -> None:
    with a_partner_behind_tls(Authority(tmp_path)) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert (finished.outcome, finished.error) == (Outcome.UNREACHABLE, "certificate not trusted")
    assert partner.got == []


# --- many at once


def test_an_endpoint_that_hangs_holds_up_only_itself(post: Post, partner: Partner) -> None:
    may_answer = threading.Event()

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    with a_partner(hang) as hanging:
        post.courier.take([a_claim(hanging.url, endpoint_id="ep_hanging") for _ in range(500)])
        wait_until(lambda: len(hanging.got) == FIRST_SHARE)

        started = time.monotonic()
        prompt = post.carry(*[a_claim(partner.url, endpoint_id="ep_prompt") for _ in range(200)])
        seconds = time.monotonic() - started
        in_flight = len(hanging.got)
        may_answer.set()
        wait_until(lambda: len(post.finished) == 700)

    assert {finished.outcome for finished in prompt} == {Outcome.DELIVERED}
    assert seconds < 2
    assert in_flight == FIRST_SHARE


def test_however_many_endpoints_hang_there_is_a_place_for_one_that_does_not(post: Post, partner: Partner) -> None:
    may_answer = threading.Event()

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    with a_partner(hang) as hanging:
        post.courier.take([a_claim(hanging.url, endpoint_id=f"ep_{n % 100}") for n in range(2_000)])
        wait_until(lambda: len(hanging.got) > MOST_IN_FLIGHT / 2)

        (prompt,) = post.carry(a_claim(partner.url, endpoint_id="ep_prompt"))
        in_flight = len(hanging.got)
        may_answer.set()
        wait_until(lambda: len(post.finished) == 2_001)

    assert prompt.outcome is Outcome.DELIVERED
    assert in_flight < MOST_IN_FLIGHT


def test_what_a_hanging_endpoint_has_in_hand_is_given_back(hurried: None, post: Post) -> None:
    may_answer = threading.Event()

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    with a_partner(hang) as hanging:
        post.courier.take([a_claim(hanging.url) for _ in range(100)])
        wait_until(lambda: len(post.finished) + len(post.returned) >= 100)
        may_answer.set()

    assert len(post.returned) > 50
    assert len(hanging.got) == len(post.finished)


@pytest.mark.parametrize("code", [410, 429, 503])
def test_after_an_answer_that_wants_rest_nothing_more_goes_out(post: Post, code: int) -> None:
    with a_partner(lambda _got, _nth: status(code, retry_after="7")) as partner:
        post.courier.take([a_claim(partner.url) for _ in range(100)])
        wait_until(lambda: len(post.finished) + len(post.returned) == 100)

    assert len(partner.got) == len(post.finished) == FIRST_SHARE
    assert {one.retry_after for one in post.finished} == {None if code == 410 else timedelta(seconds=7)}


@pytest.mark.parametrize(
    ("said", "seconds"), [("0", 0), ("120", 120), ("-5", 0), ("soon", 0), ("", 0), ("99999999999999999999", None)]
)
def test_a_retry_after_is_read_whatever_it_says(post: Post, said: str, seconds: int | None) -> None:
    with a_partner(lambda _got, _nth: status(503, retry_after=said)) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert finished.outcome is Outcome.REFUSED
    if seconds is not None:
        assert (finished.retry_after or timedelta(0)) == timedelta(seconds=seconds)


def test_a_retry_after_may_be_a_date(post: Post) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    with a_partner(lambda _got, _nth: status(429, retry_after=then)) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert timedelta(seconds=80) < (finished.retry_after or timedelta(0)) <= timedelta(seconds=90)


def test_a_retry_after_on_any_other_answer_says_nothing(post: Post) -> None:
    with a_partner(lambda _got, _nth: status(500, retry_after="120")) as partner:
        (finished,) = post.carry(a_claim(partner.url))

    assert finished.retry_after is None


def test_a_thousand_deliveries_are_each_attempted_once(post: Post) -> None:
    with a_partner() as first, a_partner() as second:
        claims = [a_claim((first, second)[n % 2].url, endpoint_id=f"ep_{n % 2}") for n in range(1000)]

        finished = post.carry(*claims)

        assert sorted(first.ids() + second.ids()) == sorted(claim.event_id for claim in claims)
    assert {one.outcome for one in finished} == {Outcome.DELIVERED}


def test_what_has_waited_beyond_its_lease_is_given_back(post: Post, partner: Partner) -> None:
    late = replace(a_claim(partner.url), leased_until=datetime.now(UTC) + timedelta(seconds=5))
    good = a_claim(partner.url)

    post.courier.take([late])
    post.carry(good)

    assert partner.ids() == [good.event_id]
    assert post.returned == [late]


def test_stopping_finishes_what_is_in_flight_and_gives_back_the_rest() -> None:
    may_answer = threading.Event()

    def hang(_got: Got, _nth: int) -> Callable[..., None]:
        may_answer.wait(20)
        return OK

    post = Post()
    with a_partner(hang) as partner:
        post.courier.take([a_claim(partner.url) for _ in range(FIRST_SHARE + 10)])
        wait_until(lambda: len(partner.got) == FIRST_SHARE)
        stopping = threading.Thread(target=post.courier.stop, args=[20])
        stopping.start()
        wait_until(lambda: post.courier._stopping)
        may_answer.set()
        stopping.join(20)

    assert not post.courier._thread.is_alive()
    assert len(post.finished) == len(partner.got) == FIRST_SHARE
    assert len(post.returned) == 10


def test_a_stumble_does_not_end_the_courier(post: Post, partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as lines, monkeypatch.context() as broken:
        broken.setattr(post.courier, "_start_what_may_fly", lambda: 1 / 0)
        post.courier.take([a_claim(partner.url)])
        wait_until(lambda: any(line["event"] == "courier.stumbled" for line in lines))

    assert [finished.outcome for finished in post.carry(a_claim(partner.url))]
    wait_until(lambda: len(post.finished) == 2)
