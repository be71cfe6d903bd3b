"""Faults that strike requests and webhooks at random, independent of the contact."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.faults import Dice, Rate, Seconds


class Faults(BaseModel):
    """The faults, and the share of requests that each strikes; a rate of 0.3 means three in ten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reset_connections: Rate = Field(0, description="RST before anything is read or done")
    error_rate: Rate = Field(0, description="answered with error_status before any work")
    error_status: int = Field(503, ge=400, le=599, description="the status of error_rate; a gateway's are HTML")
    bare_errors: bool = Field(False, description="errors say nothing but their status")
    rate_limit_storm: Rate = Field(0, description="429 TEN_SECONDLY_ROLLING below the limit")
    search_limit_storm: Rate = Field(0, description="429 SECONDLY to searches below the limit")
    daily_limit_spent: bool = Field(False, description="429 DAILY to everything")
    retry_after: bool = Field(False, description="429s carry Retry-After")
    moving: bool = Field(False, description="477 to everything, with Retry-After: moving_seconds")
    moving_seconds: int = Field(1, ge=1, le=86_400, description="for moving and hs-477once")
    locked_rate: Rate = Field(0, description="423 to writes; nothing is written")
    hang_rate: Rate = Field(0, description="done, answered after hang_seconds")
    hang_seconds: Seconds = Field(90, description="for hang_rate")
    disconnect_before_work: Rate = Field(0, description="not done, never answered")
    disconnect_after_accept: Rate = Field(0, description="done, never answered")
    slow_bytes: Rate = Field(0, description="the answer leaves byte by byte, fifty a second")
    torn_answers: Rate = Field(0, description="done, the connection closed in the middle of the answer")
    garbage_answers: Rate = Field(0, description="done, 200 with a body that is no JSON")
    ignored_writes: Rate = Field(0, description="200 that shows the new values; nothing is written")
    stale_seconds: Seconds = Field(0, description="reads show properties as they were so long ago")
    human_edits: Rate = Field(0, description="between our read and our write a person sets the mobile number")
    refuse_merged_writes: bool = Field(False, description="PATCH of an id that was merged away is a 404")
    details_need_oauth: bool = Field(False, description="the account's details need the scope oauth: 403 without")
    search_omits: Rate = Field(0, description="share of the matches that a search leaves out")
    drop_events: Rate = Field(0, description="the webhook event is never sent")
    duplicate_events: Rate = Field(0, description="the webhook event is sent twice, the second time by itself")
    reorder_events: Rate = Field(0, description="the webhook event leaves after later ones")
    delay_events_seconds: tuple[Seconds, Seconds] = Field(
        (0, 0), description="webhook events leave so much later, drawn evenly between the two"
    )
    forge_events: Rate = Field(0, description="the webhook event also comes with a wrong signature")
    redact_values: bool = Field(False, description="webhook events say REDACTED instead of values")
    reuse_event_ids: Rate = Field(0, description="the webhook event has the id of the one before")
    other_portal: Rate = Field(0, description="a copy of the webhook event names another account")

    @model_validator(mode="after")
    def _delays_in_order(self) -> Faults:
        shortest, longest = self.delay_events_seconds
        if shortest > longest:
            raise ValueError("delay_events_seconds is [shortest, longest]")
        return self


class Chaos(Dice):
    """The faults in force and the dice that decide which requests they strike."""

    def __init__(self, seed: int) -> None:
        """Start without faults."""
        super().__init__(seed)
        self.faults = Faults()
