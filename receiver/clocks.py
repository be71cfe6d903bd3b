"""Tell the operator when signed events are refused only because this machine's clock and the CRM's are far apart."""

from __future__ import annotations

import time

import structlog

from receiver.metrics import Metrics

log = structlog.get_logger()

SAID_EVERY = 60.0  # seconds


class Clocks:
    """Counts the refusals of one CRM's events, and logs one a minute."""

    def __init__(self, crm: str, metrics: Metrics) -> None:
        self._crm = crm
        self._refused = metrics.crm_events_untimely.labels(crm)
        self._said_at = float("-inf")

    def note(self, apart: float) -> None:
        """Note an event that was refused because our clock is *apart* seconds ahead of its time."""
        self._refused.inc()
        if time.monotonic() - self._said_at < SAID_EVERY:
            return
        self._said_at = time.monotonic()
        log.error(
            "event_refused_for_its_time",
            crm=self._crm,
            seconds=round(abs(apart)),
            ours="ahead" if apart > 0 else "behind",
            remedy="check NTP on this machine; if its clock is right, an old event was replayed",
        )
