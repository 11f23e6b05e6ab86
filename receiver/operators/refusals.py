"""Refusals at the operators' door: a page for people, a problem document for scripts."""

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from receiver.operators.pages import page
from receiver.problems import Problem

FOR_SCRIPTS: Final = (".csv", ".json")


class Refusal(Exception):
    """One request is refused. The door answers it."""

    def __init__(self, status: int, code: str, title: str, *, detail: str = "", retry_after: int = 0) -> None:
        """`code` is for machines, `title` and `detail` for people, `retry_after` in seconds."""
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.retry_after = retry_after

    def answer(self, request: Request) -> Response:
        """Return a page to a browser and a problem document to anything else."""
        if is_script(request):
            response = Problem(
                self.status, self.code, self.title, detail=self.detail or None, retry_after=self.retry_after
            ).response()
        else:
            response = page(request, "refused.html", {"refusal": self}, status=self.status)
            if self.retry_after:
                response.headers["retry-after"] = str(self.retry_after)
        if self.status == HTTPStatus.UNAUTHORIZED:
            response.headers["www-authenticate"] = 'Basic realm="Ratchet operators", charset="UTF-8"'
        return response


def is_script(request: Request) -> bool:
    """Tell whether a program asks: by what it asks for, or because it does not want a page."""
    return request.url.path.endswith(FOR_SCRIPTS) or "text/html" not in request.headers.get("accept", "")
