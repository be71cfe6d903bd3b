"""A selection: an action, and the filter that finds what it is applied to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from enrichment.event import LONGEST_ID
from enrichment.states import DeliveryState, LookupStatus

Action = Literal["retry", "cancel", "release", "replay", "erase"]
SelectionState = Literal["previewing", "previewed", "applying", "applied"]

ACTIONS: tuple[Action, ...] = get_args(Action)
FINAL: tuple[LookupStatus, ...] = ("found", "not_found", "failed", "unresolved", "suppressed", "cancelled")
# The statuses of the lookups to which an action applies. A replay is for deliveries, of lookups in any final status.
STATUSES: dict[Action, tuple[LookupStatus, ...]] = {
    "retry": ("failed", "unresolved"),
    "cancel": ("queued", "held", "failed", "unresolved"),
    "release": ("held",),
    "replay": FINAL,
    "erase": get_args(LookupStatus),
}
REPLAYED: tuple[DeliveryState, ...] = ("delivered", "refused", "given_up", "skipped")
LONGEST_TEXT = 200
WITHOUT_NUL = r"^[^\u0000]*$"
# A year further inside, because a zone may move the first and the last moments out.
WITHIN_YEARS = r"^(197[1-9]|19[89][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-7])-"
FIRST_YEAR, LAST_YEAR = 1970, 9998  # the times that a UUIDv7 can hold, and that datetime can shift


def _storable(text: str) -> str:
    """Refuse a text that PostgreSQL cannot store. Raise ValueError."""
    if "\0" in text:
        raise ValueError("must be without NUL")
    return text


def _written(moment: object) -> object:
    """Refuse a bare number: it could be in seconds or in milliseconds. Raise ValueError."""
    if isinstance(moment, int | float) or (isinstance(moment, str) and "-" not in moment[1:]):
        raise ValueError("must be a time, as text")
    return moment


def _utc(moment: datetime) -> datetime:
    """Return *moment* in UTC; read a time without a zone as UTC. Raise ValueError."""
    if FIRST_YEAR <= moment.year <= LAST_YEAR:
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if FIRST_YEAR <= utc.year <= LAST_YEAR:  # a stored filter is read again
            return utc
    raise ValueError(f"must be between {FIRST_YEAR} and {LAST_YEAR}")


Name = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_TEXT, json_schema_extra={"pattern": WITHOUT_NUL}),
    AfterValidator(_storable),
]
Moment = Annotated[
    datetime, BeforeValidator(_written), AfterValidator(_utc), Field(json_schema_extra={"pattern": WITHIN_YEARS})
]


class Filter(BaseModel):
    """The filter of a selection: an item must match every field that is given."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = Field(None, description="one lookup; of a replay, one delivery")
    status: LookupStatus | None = Field(None, description="of the lookup; without it, every status that allows this")
    source: Name | None = Field(None, description="where the lookup's event came from")
    provider: Name | None = Field(None, description="was asked, or is to be asked next, or gave the number")
    since: Moment | None = Field(None, description="created then or later; UTC unless it names a zone")
    until: Moment | None = Field(None, description="created before then")
    record_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=LONGEST_ID,
            description="the CRM's id of the contact",
            json_schema_extra={"pattern": WITHOUT_NUL},
        ),
    ] = None
    reason: Name | None = Field(None, description="part of the reason, in any case; of a replay, of the delivery's")
    channel: Name | None = Field(None, description="replay only: `webhook`, or the CRM's name")
    state: DeliveryState | None = Field(None, description="replay only: of the delivery; without it, every end")

    @model_validator(mode="after")
    def _record_is_storable(self) -> Filter:
        if self.record_id is not None:
            _storable(self.record_id)
        return self


def _described(action: Action) -> dict[str, Any]:
    """Return the JSON schema of what the filter of *action* may say; `Wanted` checks the same."""
    fields: dict[str, Any] = {"status": {"enum": [*STATUSES[action], None]}}
    if action == "replay":
        fields["state"] = {"enum": [*REPLAYED, None]}
    else:
        fields |= {"channel": {"type": "null"}, "state": {"type": "null"}}
    return {"properties": {"action": {"const": action}, "filter": {"properties": fields}}}


class Wanted(BaseModel):
    """The action of a selection, and its filter."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"anyOf": [_described(action) for action in ACTIONS]})

    action: Action
    filter: Filter = Field(default_factory=lambda: Filter())  # noqa: PLW0108  mypy wants the optional fields otherwise

    @model_validator(mode="after")
    def _fits(self) -> Wanted:
        """Refuse a filter that can find nothing to which the action applies."""
        if self.filter.status is not None and self.filter.status not in STATUSES[self.action]:
            raise ValueError(f"{self.action} is for lookups that are {', '.join(STATUSES[self.action])}")
        if self.action != "replay" and (self.filter.channel is not None or self.filter.state is not None):
            raise ValueError("channel and state are of deliveries, for replay only")
        if self.filter.state is not None and self.filter.state not in REPLAYED:
            raise ValueError(f"replay is for deliveries that are {', '.join(REPLAYED)}")
        if self.filter.since and self.filter.until and self.filter.since >= self.filter.until:
            raise ValueError("until must be later than since")
        return self

    @property
    def statuses(self) -> tuple[LookupStatus, ...]:
        """Return the statuses of the lookups to find."""
        return (self.filter.status,) if self.filter.status else STATUSES[self.action]

    @property
    def states(self) -> tuple[DeliveryState, ...]:
        """Return the states of the deliveries to find."""
        return (self.filter.state,) if self.filter.state else REPLAYED
