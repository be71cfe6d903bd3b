"""States of jobs, searches, lookups, deliveries and callbacks; schema.sql says which process changes each."""

from __future__ import annotations

from typing import Literal, get_args

OpenJobState = Literal["queued", "submitting", "awaiting"]
JobEnd = Literal["answered", "failed", "unknown", "lost"]
JobState = Literal["queued", "submitting", "awaiting", "answered", "failed", "unknown", "lost"]
AnsweredBy = Literal["inline", "callback", "poll"]

SearchStatus = Literal["found", "not_found", "failed", "unresolved", "suppressed", "dropped"]

FinalStatus = Literal["found", "not_found", "failed", "unresolved", "suppressed", "cancelled"]
LookupStatus = Literal[
    "queued", "running", "held", "found", "not_found", "failed", "unresolved", "suppressed", "cancelled"
]

DeliveryEnd = Literal["delivered", "refused", "given_up", "skipped"]
DeliveryState = Literal["queued", "sending", "delivered", "refused", "given_up", "skipped"]
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)

Verdict = Literal["applied", "late", "ignored", "flagged"]
