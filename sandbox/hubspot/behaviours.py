"""The words in a contact's identifiers that choose what HubSpot does with it: `hs-WORD`, or several of them.

They stand beside those of LeadMagic and Nyne: `linkedin.com/in/hs-lockedonce--lm-found--jane`. A word that says
"the first time" works once for each contact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox.behaviours import UnknownWordError
from sandbox.people import Person
from sandbox.wire import Ending

PREFIX = "hs-"
Moment = Literal["read", "batch", "write", "search", "event"]
Meddling = Literal["", "writes", "clears", "writes_after", "deletes", "merges"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One row of the table: what happens to which kind of requests, *on*, that touch the contact.

    *done*: the work is done, whatever the answer says. A *status* other than 200 replaces the answer.
    """

    word: str
    happens: str
    on: Moment
    status: int = 200
    once: bool = False
    done: bool = True
    ending: Ending = "whole"
    hold: Literal["", "slow", "for_ever"] = ""
    garbage: bool = False
    pretends: bool = False  # the answer shows a write that was not done
    meddling: Meddling = ""  # what a person does between our read and our write


def _row(on: Moment, word: str, happens: str, **fields: object) -> Behaviour:
    return Behaviour(on=on, word=word, happens=happens, **fields)  # type: ignore[arg-type]


FIRST = {"once": True, "done": False}
_ROWS = (
    _row("read", "slow", "every read takes --slow-seconds", hold="slow"),
    _row("read", "hang", "the first read is never answered", hold="for_ever", once=True),
    _row("read", "torn", "the first read's answer breaks off in the middle", ending="torn", once=True),
    _row("read", "cut", "the first read's connection is closed without an answer", ending="cut", **FIRST),
    _row("read", "garbage", "the first read is a 200 with a body that is no JSON", garbage=True, once=True),
    _row("read", "429once", "the first read is a 429 TEN_SECONDLY_ROLLING", status=429, **FIRST),
    _row("read", "477once", "the first read is a 477 with Retry-After", status=477, **FIRST),
    _row("read", "500once", "the first read is a 500", status=500, **FIRST),
    _row("read", "502once", "the first read is a 502 with an HTML page", status=502, **FIRST),
    _row("read", "524once", "the first read is a 524 with an HTML page", status=524, **FIRST),
    _row("read", "500", "every read is a 500", status=500, done=False),
    _row("read", "stale", "reads show properties as they were two seconds ago"),
    _row("batch", "hidden", "batch reads leave it out as if it were not there; a single read shows it"),
    _row("write", "locked", "423 to every write", status=423, done=False),
    _row("write", "lockedonce", "423 to the first write", status=423, **FIRST),
    _row("write", "rule", "400 MISSING_CONDITIONAL_REQUIRED_PROPERTY to every write", status=400, done=False),
    _row("write", "403", "403 MISSING_SCOPES to every write", status=403, done=False),
    _row("write", "500write", "the first write is a 500; nothing is written", status=500, **FIRST),
    _row("write", "502write", "the first write is a 502 with an HTML page; nothing is written", status=502, **FIRST),
    _row("write", "504write", "the first write is a 504 with an HTML page; it is written", status=504, once=True),
    _row("write", "lostwrite", "the first write is done, the connection closed unanswered", ending="cut", once=True),
    _row("write", "lostbefore", "the first write is not done, the connection closed", ending="cut", **FIRST),
    _row("write", "hangwrite", "the first write is done and never answered", hold="for_ever", once=True),
    _row("write", "slowwrite", "every write is done and answered after --slow-seconds", hold="slow"),
    _row("write", "garbagewrite", "the first write is done; 200 with a body that is no JSON", garbage=True, once=True),
    _row("write", "ignored", "every write gets a 200 that shows it; nothing is written", pretends=True),
    _row(
        "write", "human", "after our read, before our first write, a person sets the mobile number", meddling="writes"
    ),
    _row("write", "humanclears", "as human, and clears it again at once", meddling="clears"),
    _row("write", "humanafter", "right after our first write a person sets the mobile number", meddling="writes_after"),
    _row("write", "humandeletes", "after our read, before our first write, a person deletes it", meddling="deletes"),
    _row("write", "humanmerges", "as humandeletes, but it is merged into another contact", meddling="merges"),
    _row("search", "unsearchable", "no search ever finds it"),
    _row("event", "silent", "no webhook tells of it"),
    _row("event", "double", "webhooks tell everything twice"),
    _row("event", "late", "webhooks come --late-seconds later"),
    _row("event", "redacted", "webhooks say REDACTED instead of its values"),
)
TABLE = {row.word: row for row in _ROWS}


def chosen(subject: Person | None) -> tuple[Behaviour, ...]:
    """Return the rows that the person's identifiers name. Raise UnknownWordError."""
    words: dict[str, None] = {}
    for text in subject.texts if subject else ():
        if PREFIX in text:
            parts = text.split("--")
            words |= {part.removeprefix(PREFIX): None for part in parts if part.startswith(PREFIX)}
    return tuple(row(word) for word in words)


def row(word: str) -> Behaviour:
    """Return the row of a word, with or without its prefix. Raise UnknownWordError."""
    try:
        return TABLE[word.removeprefix(PREFIX)]
    except KeyError:
        raise UnknownWordError(f"no behaviour is called {word!r}; GET /sandbox/behaviours lists them") from None


def manual() -> dict[str, str]:
    """Return what happens, by the word as an identifier carries it."""
    return {PREFIX + each.word: each.happens for each in TABLE.values()}
