"""From a path and a method to the operation that is declared for them."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from receiver.partners.operation import Operation
from receiver.partners.refusals import Refusal
from receiver.partners.serve import serve

_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""Nothing we name is written otherwise, and PostgreSQL's text holds no NUL."""


class _Path:
    """Every operation of one path. One route for all methods: only so does a 405 name all of them."""

    def __init__(self, path: str, operations: Sequence[Operation]) -> None:
        self._path = path
        self._by_method = {operation.method: operation for operation in operations}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["ratchet.route"] = self._path
        operation = self._by_method.get(scope["method"])
        if operation is None:
            raise Refusal("method_not_allowed", allow=", ".join(self._by_method))
        request = Request(scope, receive)
        if not all(_PARAMETER.fullmatch(request.path_params[name]) for name in operation.parameters):
            raise Refusal("not_found")
        response: Response = await serve(operation, request)
        await response(scope, receive, send)


def routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """Return the routes of these operations, fixed paths before those with parameters."""
    paths = sorted({operation.path for operation in operations}, key=lambda path: ("{" in path, path))
    return [
        Route(path, _Path(path, [operation for operation in operations if operation.path == path])) for path in paths
    ]
