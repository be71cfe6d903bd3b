"""Log the errors that a loop survives."""

from __future__ import annotations

from typing import Any

import asyncpg
import structlog

from store.database import UNREACHABLE

log = structlog.get_logger()


def log_failure(error: Exception, **where: Any) -> None:
    """Log *error* by its kind: conflicting transactions, an unusable database, or a bug with its place."""
    if isinstance(error, asyncpg.TransactionRollbackError):
        log.info("transaction_retried", error=type(error).__name__, **where)
    elif isinstance(error, UNREACHABLE):
        log.warning("database_away", error=type(error).__name__, **where)
    else:
        log.error("failed", exc_info=error, **where)
