"""The one way out to gateways: aiohttp, with every failure sorted into "it never left" and "nobody answered"."""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import aiohttp

from connectors._base import HttpReply, NoReply, NotSent

TIMEOUT_SECONDS: Final = 20.0
"""For one request, from connecting to the last byte of the answer."""

CONNECT_SECONDS: Final = 10.0

MAX_ANSWER_BYTES: Final = 1024 * 1024

_NEVER_LEFT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""Refused, unresolvable, TLS failed, no connection in time, no such URL: all before the first byte of the request."""


class AiohttpHttp:
    """One session; `async with AiohttpHttp() as http`. Implements `connectors._base.Http`."""

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            # No connection is used twice: a POST on a kept one that turns out dead would leave its outcome unknown.
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_seconds, connect=min(CONNECT_SECONDS, self._timeout_seconds)
            ),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "ratchet"},
            middlewares=(_once,),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Send one request, following no redirect.

        Raises `NotSent` or `NoReply`, naming the kind of failure only: aiohttp's own texts hold the URL, so they are
        not chained either.
        """
        if self._session is None:
            raise NotSent("the session is not open")
        if any(letter in value for value in headers.values() for letter in "\r\n\0"):
            raise NotSent("a header holds a line break")
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                return HttpReply(response.status, _headers(response), await _bounded(response))
        except _NEVER_LEFT as error:
            raise NotSent(f"not sent: {type(error).__name__}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NoReply(f"no reply: {type(error).__name__}") from None


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send one request once. Left to itself, aiohttp sends PUT and DELETE again when the connection dies under them.

    It recognises such a death by the kind of error, so the error is changed into ours before it gets there.
    """
    try:
        return await handler(request)
    except _NEVER_LEFT:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NoReply(f"no reply: {type(error).__name__}") from None


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Return the body. Raises `NoReply` for one so large that it cannot be meant for us."""
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise NoReply(f"no reply: more than {MAX_ANSWER_BYTES} bytes")
    return bytes(answer)
