"""The types of the table of routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from enrichment.setting_types import Scope
from receiver.api import Api
from receiver.audit import Audit
from receiver.auth import Handler
from receiver.callbacks import Callbacks
from receiver.crm_events import CrmEvents
from receiver.deliveries import Deliveries
from receiver.docs import Docs
from receiver.events import Events
from receiver.health import Health
from receiver.pauses import Pauses
from receiver.readings import Readings
from receiver.rights import Rights
from receiver.selections import Selections
from receiver.usage import UsageReport

# What a caller of an operation needs: a token with its scope, for events alternatively a signature, or nothing.
Who = Literal["token", "token or signature", "anybody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The objects whose methods answer requests."""

    events: Events
    crm_events: Mapping[str, CrmEvents]  # by the CRM's name
    readings: Readings
    callbacks: Callbacks
    api: Api
    audit: Audit
    pauses: Pauses
    selections: Selections
    rights: Rights
    deliveries: Deliveries
    usage: UsageReport
    health: Health
    docs: Docs


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value in the path or the query."""

    name: str
    place: Literal["path", "query"]
    schema: dict[str, Any]
    description: str
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address: its handler, and its description in /openapi.json."""

    method: Literal["get", "post", "delete"]
    path: str
    handler: Callable[[Handlers], Handler]
    group: str
    summary: str
    description: str = ""
    who: Who = "token"
    scope: Scope | None = None  # that the token needs
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_is_optional: bool = False
    any_body: dict[str, Any] | None = None  # the schema of a body without a model; {}: any type and any content
    success: int = 200
    accepted: str = ""  # when the same answer comes with a 202 instead
    answer: type[BaseModel] | Literal["nothing", "text", "html", "object"]
    problems: dict[int, str] = field(default_factory=dict)
    silent: tuple[int, ...] = ()  # problems without a body

    def __post_init__(self) -> None:
        """Refuse an operation for tokens that names no scope: every token could call it."""
        if (self.scope is None) != (self.who == "anybody"):
            raise ValueError(f"{self.method} {self.path}: its scope does not fit who may call it")
