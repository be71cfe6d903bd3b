"""The models of selections; enrichment/selection.py has what is sent."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from enrichment.selection import Action, Filter, SelectionState
from enrichment.shown import Credits, Time


class SelectedItem(BaseModel):
    """One of the items found, in its present state."""

    id: UUID = Field(description="a lookup; of a replay, a delivery")
    status: str
    reason: str | None


class SelectionAnswer(BaseModel):
    """A selection: what it found, and how much of it is applied."""

    id: UUID
    who: str
    action: Action
    filter: Filter
    state: SelectionState
    count: int = Field(description="how many items were found")
    most_credits: Credits = Field(description="what applying it can cost at most")
    applied: int
    passed: int = Field(description="changed after the preview, so that the action does not apply any more: left alone")
    sample: list[SelectedItem] = Field(description="the first of what was found")
    created_at: Time
    previewed_at: Time | None
    applied_at: Time | None
