"""The sentences that a page says after a form: an address names one, so no address can put words into our mouth."""

from __future__ import annotations

SAID = {
    "paused": "Stopped. What was on its way may still be paid for; nothing new is asked.",
    "paused-already": "That is stopped already.",
    "resumed": "Let go. Waiting lookups go on now.",
    "resumed-already": "That is not stopped any more.",
    "retried": "Tried again: the timeline shows when a provider is asked.",
    "retried-doubtful": "Tried again. A provider that was perhaps charged already may charge a second time.",
    "number-wrong": "That number is not given again here. Other providers are asked now, if any are left.",
    "cancelled": "Cancelled. A search that others wait for goes on without it.",
    "released": "Released. The next claim may hold it again, if its reason is still there.",
    "replayed": "Queued: the same result is sent again, under the same id.",
    "ended": "You are logged out.",
}
