"""Counters of this process: requests by route and status, rows per commit. No label names a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from enrichment import lines
from receiver.clients import Clients
from store.steps import program

Item = TypeVar("Item")
Result = TypeVar("Result")
Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class _DroppedLines(Collector):
    """The lines of this process's log that were not read in time."""

    def collect(self) -> Iterable[Metric]:
        """Return their number."""
        yield CounterMetricFamily(
            "ringback_log_lines_dropped", "Log lines dropped because stderr was not read.", value=lines.stderr.dropped
        )


class Metrics:
    """The counters of one app."""

    def __init__(self, in_flight: Callable[[], float], clients: Clients) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_DroppedLines())
        build = Gauge(
            "ringback_build_info", "This program, always 1.", ("version", "schema_step"), registry=self.registry
        )
        build.labels(*program()).set(1)
        self.requests = Counter(
            "ringback_http_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "ringback_http_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("route",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        answering = Gauge("ringback_http_requests_in_flight", "Requests being answered.", registry=self.registry)
        answering.set_function(in_flight)
        self.registry.register(clients.open_connections)
        self.registry.register(clients.refused_connections)
        self.callbacks = Counter(
            "ringback_callbacks", "Callbacks with a valid token.", ("provider", "verdict"), registry=self.registry
        )
        self.callbacks_surplus = Counter(
            "ringback_callbacks_surplus",
            "Callbacks of which only the number is kept: their job has as many as are stored of one.",
            ("provider",),
            registry=self.registry,
        )
        self.crm_events = Counter(
            "ringback_crm_events", "Events of CRMs that were genuine.", ("source", "verdict"), registry=self.registry
        )
        self.crm_events_untimely = Counter(
            "ringback_crm_events_untimely",
            "Requests that a CRM signed, refused because its clock and ours are too far apart, or as replayed.",
            ("source",),
            registry=self.registry,
        )
        self.limited = Counter(
            "ringback_requests_limited",
            "Requests refused with a 429, by the kind of the limit: of a token, with its name, or of an address.",
            ("limit", "token"),
            registry=self.registry,
        )
        self.commits = Histogram(
            "ringback_group_commit_items",
            "Events or callbacks that shared a commit.",
            ("what",),
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )

    def watch_bodies(self, held: Callable[[], float], unverified: Callable[[], float]) -> None:
        """Show how many bytes of bodies the process holds."""
        gauge = Gauge("ringback_body_bytes", "Bytes of bodies held, by sender.", ("sender",), registry=self.registry)
        gauge.labels("any").set_function(held)
        gauge.labels("unverified").set_function(unverified)

    def counted(self, what: str, flush: Flush[Item, Result]) -> Flush[Item, Result]:
        """Wrap *flush* so that it counts each batch after the commit."""
        observe = self.commits.labels(what).observe

        async def counted(items: Sequence[Item]) -> Sequence[Result]:
            results = await flush(items)
            observe(len(items))
            return results

        return counted
