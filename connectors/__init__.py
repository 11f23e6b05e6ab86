"""Gateways, one file each. Dropping a file into this folder adds a gateway: discovery lists the modules."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Final

from connectors._base import Connector


class UnknownConnector(LookupError):
    """No file of that name stands in connectors/."""


NAMES: Final = tuple(
    sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
)


@cache
def connector_class(name: str) -> type[Connector]:
    """Return the connector that `connectors/<name>.py` defines. Raises `UnknownConnector`."""
    if name not in NAMES:
        raise UnknownConnector(f"no connector {name!r}; there are: {', '.join(NAMES)}")
    module = import_module(f"connectors.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Connector) and value.__module__ == module.__name__
    )
    return found
