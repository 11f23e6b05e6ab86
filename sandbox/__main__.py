"""`python -m sandbox --port 9400`: the sandbox as one process that starts in a moment and stops in a moment."""

import argparse
import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sandbox.app import Sandbox, create_app


class Server(uvicorn.Server):
    """Says when it is ready, and ends with 0 when asked to stop: uvicorn's own would die by the signal."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox) -> None:
        super().__init__(config)
        self.sandbox = sandbox

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.sandbox.hurry()
        self.should_exit = True

    async def startup(self, *args: object, **kwargs: object) -> None:
        """Start listening, then say so in one line."""
        await super().startup(*args, **kwargs)  # type: ignore[arg-type]
        if self.started:
            print(f"sandbox listening on http://{self.config.host}:{self.config.port}", flush=True)  # noqa: T201 - the one line that callers wait for


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless you say otherwise")
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--seed", type=int, default=7, help="the same seed tells the same stories")
    asked = parser.parse_args()
    sandbox = create_app(asked.seed)
    config = uvicorn.Config(
        sandbox,
        host=asked.host,
        port=asked.port,
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    Server(config, sandbox).run()


if __name__ == "__main__":
    main()
