"""The doors as ASGI apps: `gateways`, `partners` and `operators`, each a process of its own in the Procfile."""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from receiver.directory import Directory
from receiver.gateways import GatewaysDoor
from receiver.health import Health
from receiver.hints import Hints
from receiver.inbox_writer import InboxWriter
from receiver.problems import on_http_exception
from settings import settings
from workers.apply import send_apply


def gateways() -> ASGIApp:
    """Return the gateways' door."""
    directory = Directory()
    hints = Hints(send_apply)
    writer = InboxWriter(settings().database_url, directory.slug, hints.add)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process; scanning it again costs p99
        yield
        await writer.close()
        await hints.close()

    return GatewaysDoor(directory, writer, _starlette([], lifespan))


def partners() -> ASGIApp:
    """Return the partners' door."""
    from receiver.partners import routes as partners_routes
    from workers import soon
    from workers.outside import outside

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        soon.close()
        if opened := outside.forget():  # a cancellation has asked a gateway
            opened.close()

    app = _starlette(partners_routes.ROUTES, lifespan, partners_routes.MIDDLEWARE)
    app.router.redirect_slashes = False  # a redirect would have clients send their key once more
    return app


def operators() -> ASGIApp:
    """Return the operators' door."""
    from receiver.operators import routes as operators_routes  # each process loads its own door only

    return _starlette(operators_routes.ROUTES)


def _starlette(
    routes: Sequence[BaseRoute], lifespan: object = None, middleware: Sequence[Middleware] = ()
) -> Starlette:
    return Starlette(
        routes=[*Health().routes, *routes],
        middleware=middleware,
        lifespan=lifespan,  # type: ignore[arg-type]
        exception_handlers={HTTPException: on_http_exception},
    )
