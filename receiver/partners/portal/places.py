"""Where things are on the partner's page."""

from typing import Final

HOME: Final = "/portal"
ENTER: Final = "/portal/enter"
LEAVE: Final = "/portal/leave"
STYLE: Final = "/portal/style.css"


def endpoint(endpoint_id: str) -> str:
    """Return the page of an endpoint."""
    return f"{HOME}/endpoints/{endpoint_id}"


def delivery(delivery_id: str) -> str:
    """Return the page of a delivery."""
    return f"{HOME}/deliveries/{delivery_id}"
