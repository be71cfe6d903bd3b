"""How long a sender may wait for PostgreSQL: a little less than the sender's own timeout."""

from __future__ import annotations

FOR_A_CALLBACK = 20.0  # seconds
FOR_AN_EVENT = 4.0
FOR_AN_EVENT_OF = {"pipedrive": 9.0}  # its timeout is ten seconds, others' five


def patience_with(source: str) -> float:
    """Return how many seconds an event of *source* may wait to be committed."""
    return FOR_AN_EVENT_OF.get(source, FOR_AN_EVENT)
