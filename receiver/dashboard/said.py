"""The sentences that a page says after a form: an address names one, so no address can put words into our mouth."""

from __future__ import annotations

SAID = {
    "paused": "Stopped. What was on its way may still be paid for; nothing new is asked.",
    "paused-already": "That is stopped already.",
    "resumed": "Let go. Waiting lookups go on now.",
    "resumed-already": "That is not stopped any more.",
    "sent-again": "It is sent again now, from the beginning of its schedule.",
    "sent-already": "That one is on its way already.",
    "suppressed": "Suppressed. Waiting lookups of it have ended; no provider is asked about it from now on.",
    "suppressed-already": "That was suppressed already; it stays so.",
    "unsuppressed": "Removed. The next event of it is asked about again; what has ended stays as it is.",
    "unsuppressed-already": "There is no such suppression any more.",
    "test-sent": "The test contact was taken. This page shows what comes of it.",
    "retried": "Tried again: the timeline shows when a provider is asked.",
    "retried-doubtful": "Tried again. A provider that was perhaps charged already may charge a second time.",
    "number-wrong": "That number is not given again here. Other providers are asked now, if any are left.",
    "cancelled": "Cancelled. A search that others wait for goes on without it.",
    "released": "Released. The next claim may hold it again, if its reason is still there.",
    "file-changed": "Nothing was done: the file has moved on meanwhile. This is how it is now.",
    "ended": "You are logged out.",
}
