"""One thread per worker process that carries deliveries to partners, many at once, over kept connections.

Actors hand deliveries over and return; nobody's thread waits for a slow partner. Who may start is decided by the lanes
(workers/lanes.py); libcurl does the HTTP; this file only feeds it.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import pycurl
import structlog

from payouts.deliveries import Claimed, Finished, Outcome
from workers.handles import Handle
from workers.lanes import Lanes

ATTEMPT_TIMEOUT: Final = timedelta(seconds=15)
KEPT_OF_ANSWER: Final = 512
"""Of an answer that is not 2xx: enough to see what the partner's server had to say."""
MAY_ASK_FOR_REST: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
MOST_KEPT_CONNECTIONS: Final = 512
IDLE_SECONDS: Final = 0.5
IN_REASON: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLERR | select.EPOLLHUP
EVENTS: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}

Headers = Callable[[Claimed, int], list[str]]

_log = structlog.get_logger(__name__)


class Courier:
    """Takes claimed deliveries, attempts each once, and reports the finished ones in batches."""

    def __init__(
        self,
        headers: Headers,
        report: Callable[[list[Finished]], None],
        give_back: Callable[[list[Claimed]], None],
    ) -> None:
        """`headers` signs one attempt at a unix time.

        `report` and `give_back` are called on the courier's thread and must not block. What is given back was not
        attempted, and is not going to be.
        """
        self._headers = headers
        self._report = report
        self._give_back = give_back
        self._lanes = Lanes()
        self._free: list[Handle] = []
        self._under_way: dict[pycurl.Curl, tuple[Handle, Claimed, datetime, float]] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._epoll = select.epoll()
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_MAXCONNECTS, MOST_KEPT_CONNECTIONS)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def take(self, deliveries: Iterable[Claimed]) -> None:
        """Carry these. Returns at once; callable from any thread, like all that follow."""
        self._lanes.give(deliveries)
        os.write(self._wake_write, b"!")

    def room(self, endpoint_id: str) -> int:
        """Return how many more deliveries of an endpoint can be carried in a moment."""
        return self._lanes.room(endpoint_id)

    def remember(self, waiting: Mapping[str, Iterable[str]]) -> None:
        """Keep in mind the ids, by endpoint, for which there was no room."""
        self._lanes.remember(waiting)

    def recall(self) -> dict[str, list[str]]:
        """Return those for which there is room now, by endpoint."""
        return self._lanes.recall()

    def stop(self, seconds: float) -> None:
        """Start nothing new, finish what is in flight, at most this long, and give back the rest."""
        self._stopping = True
        os.write(self._wake_write, b"!")
        self._thread.join(seconds)

    def _run(self) -> None:
        while not (self._stopping and self._lanes.in_flight == 0):
            try:
                self._turn_once()
            except Exception:  # noqa: BLE001 (reported in full, and life goes on)
                # A dead courier would leave every delivery to its lease for ever.
                _log.exception("courier.stumbled")
                time.sleep(IDLE_SECONDS)
        self._give_back(self._lanes.clear())

    def _turn_once(self) -> None:
        due = self._multi.timeout()  # milliseconds; negative when nothing ever is
        for fd, events in self._epoll.poll(IDLE_SECONDS if due < 0 else min(due / 1000, IDLE_SECONDS)):
            if fd in self._watched:
                flags = (pycurl.CSELECT_IN if events & IN_REASON else 0) | (
                    pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
                )
                self._multi.socket_action(fd, flags)
            elif fd == self._wake_read:
                os.read(fd, 4096)
            else:
                self._forget(fd)
        if self._multi.timeout() == 0:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()
        if not self._stopping:
            self._start_what_may_fly()

    def _start_what_may_fly(self) -> None:
        failed, late = [], []
        now = datetime.now(UTC)
        for delivery in self._lanes.start():
            if now + ATTEMPT_TIMEOUT > delivery.leased_until:
                late.append(delivery)  # whoever sweeps it up may attempt it before we have an answer
                self._lanes.abandon(delivery)
            elif finished := self._start(delivery, now):
                failed.append(finished)
        self._land(failed)
        if late:
            self._give_back(late)

    def _start(self, delivery: Claimed, now: datetime) -> Finished | None:
        """Start an attempt, or return why it could not even be started."""
        handle = self._free.pop() if self._free else Handle(ATTEMPT_TIMEOUT)
        try:
            handle.load(delivery.to.url, self._headers(delivery, int(now.timestamp())), delivery.payload.encode())
            self._multi.add_handle(handle.curl)
        except (pycurl.error, ValueError, UnicodeError, RuntimeError) as error:
            return Finished(delivery, Outcome.UNREACHABLE, now, 0, error=type(error).__name__)
        self._under_way[handle.curl] = (handle, delivery, now, time.monotonic())
        return None

    def _collect(self) -> None:
        finished: list[Finished] = []
        while True:
            more, succeeded, failed = self._multi.info_read()
            finished += [self._finish(curl, None) for curl in succeeded]
            finished += [self._finish(curl, code) for curl, code, _ in failed]
            if not more:
                break
        self._land(finished)

    def _land(self, finished: list[Finished]) -> None:
        if not finished:
            return
        surplus = self._lanes.land(*finished)
        self._report(finished)
        if surplus:
            self._give_back(surplus)

    def _finish(self, curl: Any, error: int | None) -> Finished:
        handle, delivery, started_at, started = self._under_way.pop(curl)
        status = curl.getinfo(pycurl.RESPONSE_CODE) or None
        rest = curl.getinfo(pycurl.RETRY_AFTER) if status in MAY_ASK_FOR_REST else 0
        self._multi.remove_handle(curl)
        self._free.append(handle)
        outcome, reason = _judge(status, error, was_refused=handle.was_refused)
        kept = b"" if outcome is Outcome.DELIVERED else bytes(handle.answer[:KEPT_OF_ANSWER])
        return Finished(
            delivery,
            outcome,
            started_at,
            duration_ms=int((time.monotonic() - started) * 1000),
            status_code=status,
            answer=kept,
            error=reason,
            retry_after=timedelta(seconds=rest) if rest > 0 else None,
        )

    def _on_socket(self, what: int, fd: int, _multi: object, _data: object) -> None:
        """Watch a socket, or leave it in the set though nobody asks: it is a kept connection, and will be asked for."""
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(fd)
            return
        self._watched.add(fd)
        try:
            self._epoll.modify(fd, EVENTS[what])
        except FileNotFoundError:
            self._epoll.register(fd, EVENTS[what])

    def _forget(self, fd: int) -> None:
        """Take out a kept connection that its partner has closed."""
        try:
            self._epoll.unregister(fd)
        except OSError:
            return  # libcurl has closed it already, and closing takes it out of the set


def _judge(status: int | None, error: int | None, *, was_refused: bool = False) -> tuple[Outcome, str | None]:
    if status is not None and error in (None, pycurl.E_WRITE_ERROR):
        delivered = 200 <= status < 300  # noqa: PLR2004 (HTTP's own classes)
        return (Outcome.DELIVERED, None) if delivered else (Outcome.REFUSED, f"answered {status}")
    if error == pycurl.E_COULDNT_CONNECT and was_refused:
        return Outcome.FORBIDDEN, "the address may not be dialled"
    if error == pycurl.E_COULDNT_CONNECT:
        return Outcome.UNREACHABLE, "could not connect"
    return Outcome.UNREACHABLE, _REASONS.get(error or 0, f"curl {error}")


_REASONS: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: "unknown host",
    pycurl.E_OPERATION_TIMEDOUT: "timed out",
    pycurl.E_SSL_CONNECT_ERROR: "TLS failed",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate not trusted",
    pycurl.E_GOT_NOTHING: "no answer",
    pycurl.E_RECV_ERROR: "connection lost",
    pycurl.E_SEND_ERROR: "connection lost",
}
