"""The events in HubSpot's webhooks: one for each happening that is subscribed to.

https://developers.hubspot.com/docs/api-reference/latest/webhooks/guide
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox.hubspot.portal import Happening
from sandbox.hubspot.signing import Signing
from sandbox.hubspot.times import now

Kind = Literal["creation", "propertyChange", "merge", "deletion", "restore", "privacyDeletion"]
KINDS: tuple[Kind, ...] = ("creation", "propertyChange", "merge", "deletion", "restore", "privacyDeletion")
Dialect = Literal["classic", "generic"]
EVERY = "*"
REDACTED = "REDACTED"


class Subscription(BaseModel):
    """The address that webhooks go to, and the subscribed kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = Field(None, description="where events are POSTed; null for nowhere")
    client_secret: str = Field("hs_sandbox_secret", description="the secret that signs them")
    signing: Signing = Field("v3", description="v3, v1 or both")
    dialect: Dialect = Field("classic", description="contact.creation or object.creation")
    type_key: Literal["subscriptionType", "eventType"] = Field("subscriptionType", description="the type's name")
    kinds: tuple[Kind, ...] = Field(KINDS, description="the subscribed kinds of events")
    properties: tuple[str, ...] = Field(
        ("email", "hs_linkedin_url", "mobilephone"), description="whose propertyChange is told; * for all"
    )

    def wants(self, happening: Happening) -> bool:
        """Tell whether the app subscribed to this happening."""
        if self.url is None or happening.kind not in self.kinds:
            return False
        name = happening.extra.get("propertyName")
        return name is None or EVERY in self.properties or name in self.properties

    def event(self, happening: Happening, *, portal: int, app: int, dice: random.Random) -> dict[str, Any]:
        """Return the event, without the number of the attempt."""
        is_classic = self.dialect == "classic" or happening.kind == "privacyDeletion"
        event = {
            "eventId": dice.randint(1, 2**31 - 1),  # HubSpot does not promise that it is unique
            "subscriptionId": app * 10 + KINDS.index(happening.kind),
            "portalId": portal,
            "appId": app,
            "occurredAt": now(),
            self.type_key: f"{'contact' if is_classic else 'object'}.{happening.kind}",
            "attemptNumber": 0,
            "objectId": happening.contact.id,
            "changeSource": happening.author.source_type,
            "sourceId": happening.author.source_id,
            **happening.extra,
        }
        return event if is_classic else event | {"objectTypeId": "0-1"}
