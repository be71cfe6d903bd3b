"""Know a file again: what was counted is what is asked, and what the numbers are written beside."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from enrichment.files.table import FileProblem

CHANGED = "the file is not the one that was counted; put it back as it was, or begin again with the changed one"


def require_file(path: Path, name: str) -> None:
    """Raise FileProblem for what cannot be read twice or has no end, such as a pipe or /dev/zero; or OSError."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileProblem(f"{name} is no file that can be read twice; save what it gives as csv, and use that")


class KnownFile:
    """A file as it was at first, by its SHA-256.

    A file without a change of size, time or place is not read again.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raise FileProblem or OSError."""
        require_file(path, path.name)
        self._path = path
        self._seen = _marks(path)
        self._digest = _digest(path)

    def digest(self, part: str = "") -> bytes:
        """Return the SHA-256 of the file, and of the name of a *part* of it."""
        digest = self._digest.copy()
        digest.update(part.encode())
        return digest.digest()

    def check(self) -> None:
        """Raise FileProblem if the file has changed, or OSError."""
        seen = _marks(self._path)
        if seen == self._seen:
            return
        if _digest(self._path).digest() != self._digest.digest():
            raise FileProblem(CHANGED)
        self._seen = seen


def _marks(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
