"""States of jobs, searches, lookups and callbacks; schema.sql says which process changes each."""

from __future__ import annotations

from typing import Literal

OpenJobState = Literal["queued", "submitting", "awaiting"]
JobEnd = Literal["answered", "failed", "unknown", "lost"]
JobState = Literal["queued", "submitting", "awaiting", "answered", "failed", "unknown", "lost"]
AnsweredBy = Literal["inline", "callback", "poll"]

SearchStatus = Literal["found", "not_found", "failed", "unresolved", "suppressed", "dropped"]

FinalStatus = Literal["found", "not_found", "failed", "unresolved", "suppressed", "cancelled"]
LookupStatus = Literal[
    "queued", "running", "held", "found", "not_found", "failed", "unresolved", "suppressed", "cancelled"
]

Verdict = Literal["applied", "late", "ignored", "flagged"]
