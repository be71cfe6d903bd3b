"""Who types a command, for the audit."""

from __future__ import annotations

import getpass


def user() -> str:
    """Return the name of the user of the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return "command line"
