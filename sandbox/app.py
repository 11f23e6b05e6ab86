"""One Starlette application: the gateways under their base URLs, and the control API beside them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.answers import SERVER_SEND
from sandbox.bridgerpay import BridgerPay
from sandbox.control import Control
from sandbox.fedapay import FedaPay
from sandbox.gateway import Gateway
from sandbox.mollie import Mollie
from sandbox.paycore import PayCore
from sandbox.sender import Sender
from sandbox.world import World
from sandbox.zopay import ZoPay

BASE_PATHS: dict[type[Gateway], str] = {
    Mollie: "/mollie",
    FedaPay: "/fedapay/v1",
    PayCore: "/paycore/api",
    ZoPay: "/zopay/connect/v1",
    BridgerPay: "/bridgerpay",
}


class Sandbox:
    """The whole sandbox as one ASGI application."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the server's own `send` in the scope: Starlette wraps it, and `HangUp` needs the real one."""
        scope[SERVER_SEND] = send
        await self.app(scope, receive, send)

    def hurry(self) -> None:
        """Answer what is being answered slowly, because the process is about to end."""
        self.world.is_closing.set()


def create_app(seed: int, clock: Callable[[], float] = time.time) -> Sandbox:
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

    return Sandbox(Starlette(routes=[*mounts, control], lifespan=lifespan), world)
