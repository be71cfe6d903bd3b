"""The sentences that a page says after a form: an address names one, so no address can put words into our mouth."""

from __future__ import annotations

SAID = {
    "paused": "Stopped. What was on its way may still be paid for; nothing new is asked.",
    "paused-already": "That is stopped already.",
    "resumed": "Let go. Waiting lookups go on now.",
    "resumed-already": "That is not stopped any more.",
    "ended": "You are logged out.",
}
