"""Run one door: `python -m receiver gateways`, `partners` or `operators`."""

import sys

import uvicorn

from receiver.protocol import BoundedProtocol
from settings import settings
from telemetry import logs


def main(door: str) -> None:
    """Serve until SIGTERM; requests under way are answered first."""
    known = settings()
    ports = {"gateways": known.receiver_port, "partners": known.partners_port, "operators": known.operators_port}
    if door not in ports:
        raise SystemExit(f"no door {door!r}; there are: {', '.join(ports)}")
    logs.configure("receiver" if door == "gateways" else door, known.log_level)
    uvicorn.run(
        f"receiver.app:{door}",
        factory=True,
        host=known.bind,
        port=ports[door],
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
        access_log=False,
        server_header=False,
        log_config=None,
        backlog=2048,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "gateways")
