"""The user at the command line, for the audit."""

from __future__ import annotations

import getpass


def user() -> str:
    """Return the name of the user; in a container without names, `console`."""
    try:
        return getpass.getuser().encode("utf-8", "replace").decode()  # LOGNAME may be any bytes
    except (KeyError, OSError):
        return "console"
