"""One Starlette application: three gateways under their base URLs, and the control API beside them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.answers import SERVER_SEND
from sandbox.control import Control
from sandbox.fedapay import FedaPay
from sandbox.gateway import Gateway
from sandbox.mollie import Mollie
from sandbox.paycore import PayCore
from sandbox.sender import Sender
from sandbox.world import World

BASE_PATHS: dict[type[Gateway], str] = {Mollie: "/mollie", FedaPay: "/fedapay/v1", PayCore: "/paycore/api"}


def create_app(seed: int, clock: Callable[[], float] = time.time) -> ASGIApp:
    """Return a sandbox that tells the stories of this seed. `clock` gives unix seconds."""
    world = World(seed, clock)
    sender = Sender(world)
    gateways = {cls.name: cls(world, sender) for cls in BASE_PATHS}
    mounts = [Mount(path, routes=gateways[cls.name].routes()) for cls, path in BASE_PATHS.items()]
    control = Mount("/_sandbox", app=Control(world, sender, gateways))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await sender.open()
        yield
        await sender.close()

    return _KeepServerSend(Starlette(routes=[*mounts, control], lifespan=lifespan))


class _KeepServerSend:
    """Leaves the server's own `send` in the scope: Starlette wraps it, and `HangUp` needs the real one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        scope[SERVER_SEND] = send
        await self.app(scope, receive, send)
