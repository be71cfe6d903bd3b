"""Temporary folders for files of contacts. A process that is killed leaves its own behind: the next one deletes it."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "ringback-contacts-"
_LOCK = "lock"
_YOUNG = 60.0  # seconds in which a folder may not be locked yet


class Spool:
    """A temporary folder, readable by its owner alone, for as long as this process holds it."""

    def __init__(self) -> None:
        delete_strays()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = (self.folder / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def delete_strays() -> int:
    """Delete the folders of processes that are no more; return how many."""
    deleted = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_mtime > time.time() - _YOUNG:
                continue
            with (folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # its process lives, or it is another user's
            continue
        deleted += 1
    return deleted
