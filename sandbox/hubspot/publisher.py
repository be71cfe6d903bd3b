"""Turn happenings into webhook events, with everything that may go wrong on the way."""

from __future__ import annotations

import random
from typing import Any

from sandbox.hubspot.conduct import Conduct
from sandbox.hubspot.events import REDACTED, Subscription
from sandbox.hubspot.journal import Journal
from sandbox.hubspot.portal import Happening
from sandbox.hubspot.webhooks import Webhooks

REORDERED = 0.5  # seconds that a delayed event waits, so that others overtake it


class Publisher:
    """Turns happenings into events of one app's subscription."""

    def __init__(
        self,
        conduct: Conduct,
        webhooks: Webhooks,
        journal: Journal,
        dice: random.Random,
        *,
        portal: int,
        app: int,
        late_seconds: float,
    ) -> None:
        """Publish for this account and this app."""
        self._conduct = conduct
        self._webhooks = webhooks
        self._journal = journal
        self._dice = dice
        self._portal = portal
        self._app = app
        self._late_seconds = late_seconds
        self._last_event_id = 0

    def publish(self, happening: Happening, subscription: Subscription) -> None:
        """Send the event of a happening, if it is subscribed to, as the faults and the contact's words say."""
        contact = happening.contact
        if not subscription.wants(happening):
            return
        event = self._event(happening, subscription)
        faults, strikes = self._conduct.chaos.faults, self._conduct.chaos.strikes
        counts = self._journal.counts
        counts["events"] += 1
        if strikes(faults.forge_events):
            self._webhooks.publish([event], forged=True)
        if strikes(faults.other_portal):
            self._webhooks.publish([event | {"portalId": self._portal + 1}])
        if self._conduct.has(contact, "silent") or strikes(faults.drop_events):
            counts["events_dropped"] += 1
            return
        delay = self._conduct.chaos.between(*faults.delay_events_seconds)
        delay += self._late_seconds if self._conduct.has(contact, "late") else 0
        delay += REORDERED if strikes(faults.reorder_events) else 0
        self._webhooks.publish([event], delay)
        if self._conduct.has(contact, "double") or strikes(faults.duplicate_events):
            counts["events_duplicated"] += 1
            self._webhooks.publish([event], delay + REORDERED)

    def _event(self, happening: Happening, subscription: Subscription) -> dict[str, Any]:
        faults = self._conduct.chaos.faults
        event = subscription.event(happening, portal=self._portal, app=self._app, dice=self._dice)
        if self._last_event_id and self._conduct.chaos.strikes(faults.reuse_event_ids):
            event["eventId"] = self._last_event_id
        self._last_event_id = event["eventId"]
        if "propertyValue" in event and (faults.redact_values or self._conduct.has(happening.contact, "redacted")):
            event["propertyValue"] = REDACTED
        return event
