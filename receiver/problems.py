"""Refusals as RFC 9457 problem documents, each with a machine-readable `code`."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

MEDIA_TYPE: Final = "application/problem+json"

_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 429: "too_many_requests"}


class Problem:
    """One refusal, rendered once and sent as often as needed."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        *,
        detail: str | None = None,
        retry_after: int = 0,
        allow: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Render it. `retry_after` in seconds and `allow` add their headers, `more` its members."""
        self.status = status
        self.code = code
        document = {"type": "about:blank", "title": title, "status": status, "code": code}
        self.body = orjson.dumps({**document, **({"detail": detail} if detail else {}), **(more or {})})
        self.headers = {"content-type": MEDIA_TYPE, "content-length": str(len(self.body))}
        if retry_after:
            self.headers["retry-after"] = str(retry_after)
        if allow:
            self.headers["allow"] = allow

    async def send(self, send: Send) -> None:
        """Answer an ASGI request with it."""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def response(self, extra: Mapping[str, str] | None = None) -> Response:
        """Return it as a Starlette response."""
        return Response(self.body, self.status, {**self.headers, **(extra or {})})


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Render Starlette's own refusals (unknown path, wrong method) like ours."""
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "refused")
    return Problem(error.status_code, code, error.detail).response(error.headers)
