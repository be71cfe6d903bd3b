"""The models of GET /v1/deliveries and of its replay."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from enrichment.shown import LookupDelivery, Time
from enrichment.states import DeliveryState


class Delivery(LookupDelivery):
    """A result on its way out, and the receiver's answer."""

    lookup_id: UUID
    answer: str | None = Field(description="the beginning of the last answer, 4 KiB at most")
    finished_at: Time | None


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")


class ReplayAnswer(BaseModel):
    """The delivery that is sent again."""

    id: UUID
    status: DeliveryState
