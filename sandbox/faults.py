"""Faults that strike requests and callbacks at random, independent of the person."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.wire import Answer

Rate = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Faults(BaseModel):
    """The faults, and the share of requests that each strikes; a rate of 0.3 means three in ten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reset_connections: Rate = Field(0, description="RST before anything is read or done; free")
    bad_credentials: bool = Field(False, description="401 to every request, the free endpoints too")
    payment_required: bool = Field(False, description="402 to every paid question; free endpoints say 0")
    rate_limit_storm: Rate = Field(0, description="429 with Retry-After: 1, below the limit; free")
    error_rate: Rate = Field(0, description="answered with error_status before any work; free")
    error_status: int = Field(503, ge=400, le=599, description="the status of error_rate")
    hang_rate: Rate = Field(0, description="done and charged, answered after hang_seconds")
    hang_seconds: Seconds = Field(90, description="for hang_rate")
    disconnect_after_accept: Rate = Field(0, description="done and charged, never answered")
    slow_bytes: Rate = Field(0, description="the answer leaves byte by byte, fifty a second")
    forget_requests: Rate = Field(0, description="Nyne: accepted, then unknown to polls, no callback; free")
    drop_callbacks: Rate = Field(0, description="Nyne: the callback is never sent; polls tell")
    duplicate_callbacks: Rate = Field(0, description="Nyne: the callback is sent twice")
    delay_callbacks_seconds: tuple[Seconds, Seconds] = Field(
        (0, 0), description="Nyne: callbacks leave so much later, drawn evenly between the two"
    )
    early_callbacks: Rate = Field(0, description="Nyne: the callback is answered before the 202 leaves")
    forge_callbacks: Rate = Field(0, description="Nyne: a false number under a wrong token comes first")
    wrong_job_callbacks: Rate = Field(
        0, description="Nyne: the callback carries another job's request_id and a false number; polls tell"
    )
    unreadable_callbacks: Rate = Field(0, description="Nyne: the body of the callback is garbage; polls tell")

    @model_validator(mode="after")
    def _delays_in_order(self) -> Faults:
        shortest, longest = self.delay_callbacks_seconds
        if shortest > longest:
            raise ValueError("delay_callbacks_seconds is [shortest, longest]")
        return self


class Dice:
    """The dice that decide which requests a fault strikes; the same seed throws the same dice."""

    def __init__(self, seed: int) -> None:
        """Throw the dice of *seed*."""
        self._dice = random.Random(seed)  # noqa: S311

    def strikes(self, rate: float) -> bool:
        """Throw the dice: tell whether a fault of this rate strikes now."""
        return rate > 0 and self._dice.random() < rate

    def between(self, shortest: float, longest: float) -> float:
        """Draw evenly between the two."""
        return self._dice.uniform(shortest, longest) if longest else 0.0


class Chaos(Dice):
    """The faults in force and the dice that decide which requests they strike."""

    def __init__(self, seed: int) -> None:
        """Start without faults."""
        super().__init__(seed)
        self.faults = Faults()

    def callback_delay(self) -> float:
        """Draw the extra delay of a callback, in seconds."""
        return self.between(*self.faults.delay_callbacks_seconds)

    def mar(self, answer: Answer) -> None:
        """Make the answer to a paid question late, cut or slow, if the dice say so."""
        faults = self.faults
        if self.strikes(faults.hang_rate):
            answer.wait += faults.hang_seconds
        if self.strikes(faults.disconnect_after_accept):
            answer.ending = "cut"
        if answer.leaves and self.strikes(faults.slow_bytes):
            answer.ending = "trickle"
