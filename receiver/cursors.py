"""Write and read the cursor of a page: the last id on it."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID


def write_cursor(last: UUID) -> str:
    """Return the cursor of the page after *last*."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def read_cursor(cursor: str) -> UUID | None:
    """Return the id in *cursor*; None if it is none of ours."""
    try:
        return UUID(bytes=base64.urlsafe_b64decode(f"{cursor}==".encode("ascii")))
    except (ValueError, binascii.Error):
        return None
