"""Who is at the terminal, as the audit trail names them."""

import getpass


def actor() -> str:
    """Return `cli:USER`, the user that the operating system says this process runs as."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container may run as a number without a name
        import os

        return f"cli:{os.getuid()}"
