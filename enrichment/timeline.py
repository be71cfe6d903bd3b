"""A lookup's timeline: each step with its time and its reason, in the order in which it happened. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from enrichment.trail import Act, CalledBack, Delivered, Question, Read, Searched, Trail, Verbatim

HELD = {
    "budget": "held: nothing is left of a budget; it goes on by itself when there is again",
    "paused": "held: the provider is paused; it goes on by itself when the pause ends",
    "flood": "held by the flood guard: its source began too many searches within an hour. A person releases it",
    "brake": "held: a person stopped paid questions; it goes on when the brake is let go",
    "restored": "held: it may have been paid for before the database was restored. A person releases it",
}
NAMED_BY = {
    "event": "an event", "request": "a request", "sweep": "a sweep", "walk": "a walk through all contacts",
    "backfill": "a backfill",
}  # fmt: skip
ENDS = {
    "failed": "{} refused, or said failed",
    "unknown": "{} was asked, and what came of it is not known: it may have charged",
    "lost": "{} forgot the question, or its deadline passed: it may have charged",
}
BY = {"inline": "at once", "callback": "by callback", "poll": "when it was polled", None: ""}
VERDICTS = {
    "applied": "applied: it ended the question",
    "late": "late: the question was over without an answer, and this one still counted",
    "ignored": "ignored: the question was answered already, or it said nothing final",
    "flagged": "not applied",
}
ACTS = {
    "retry": "tried it again", "cancel": "cancelled it", "release": "released it", "replay": "sent a result again",
    "reveal": "looked at the number and at what was sent", "erase": "erased it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened; or, without *at*, that has yet to, about *due*. *after*: the keys of its causes."""

    key: str
    kind: str
    what: str
    at: datetime | None
    why: str | None = None
    state: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    lookup: UUID | None = None  # another lookup that it is about
    texts: tuple[tuple[str, Verbatim], ...] = ()
    due: datetime | None = None
    after: tuple[str, ...] = ()


def tell(trail: Trail) -> list[Step]:
    """Return the steps of the lookup in the order in which they happened; those to come are last."""
    return in_order(_steps(trail))


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Order *steps* by time, but none before its cause: several clocks wrote the times, one of them in milliseconds.

    Each cause comes before its effects in *steps*, which is also the order of what happened at the same time.
    """
    moments: dict[str, datetime] = {}
    past: list[tuple[datetime, Step]] = []
    ahead: list[Step] = []
    for step in steps:
        if step.at is None:
            ahead.append(step)
            continue
        moments[step.key] = max([step.at, *(moments[key] for key in step.after if key in moments)])
        past.append((moments[step.key], step))
    last = datetime.max.replace(tzinfo=UTC)
    ahead.sort(key=lambda step: step.due or last)
    return [step for _, step in sorted(past, key=lambda pair: pair[0])] + ahead


def moment_of(id: UUID) -> datetime:
    """Return when the UUIDv7 *id* was made: the last moment of its millisecond."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC) + timedelta(microseconds=999)


def _steps(trail: Trail) -> Iterator[Step]:
    if trail.reading is not None:
        yield from _reading(trail.reading, trail.created_at)
    if trail.event is not None:
        source, contacts = trail.event.source, trail.event.contacts
        what = f"What {source} has of the contact was kept" if trail.reading else f"An event of {source} arrived"
        others = None if contacts == 1 else f"Its text is about {contacts} people, so it is not shown here"
        texts = () if others else _texts(("the event", trail.event.body))
        yield Step("event", "event", what, trail.event.at, others, texts=texts)
    yield _beginning(trail)
    for act in trail.acts:
        yield _act(act, trail)
    for search in trail.searches:
        yield from _search(search, trail)
        before: Question | None = None
        for question in trail.questions:
            if question.search_id == search.id:
                yield from _question(question, trail, before)
                before = question
    yield from _result(trail)
    for delivery in trail.deliveries:
        yield from _delivery(delivery)


def _reading(reading: Read, created_at: datetime) -> Iterator[Step]:
    """Tell when the CRM named the contact, and what came of it. Named again, only the last time is known."""
    again = " again, after this lookup had begun" if reading.named_at > created_at else ""
    by = NAMED_BY.get(reading.named_by, reading.named_by)
    yield Step("named", "reading", f"The contact was named by {by}{again}", reading.named_at)
    if reading.ended_at is not None:
        what = f"It was read from {reading.source}" if reading.state == "done" else "It was not read"
        yield Step("read", "reading", what, reading.ended_at, reading.reason, after=("named",))
    else:
        yield Step("read", "reading", f"It is read from {reading.source}", None, reading.error, due=reading.due_at,
                   facts=_facts(("tries that failed", reading.tries)))  # fmt: skip


def _beginning(trail: Trail) -> Step:
    facts = [("providers, in this order", ", ".join(trail.providers))]
    facts += [(f"not used: {path}", message) for path, message in trail.problems]
    return Step("lookup", "lookup", "The lookup began", trail.created_at, facts=tuple(facts), after=("event",))


def _search(search: Searched, trail: Trail) -> Iterator[Step]:
    """Tell when the search began; and of another lookup's, that this one joined it, or took its answer."""
    facts = _facts(("providers", ", ".join(search.providers)), ("search", search.id),
                   ("ended", search.status and search.status.replace("_", " ")))  # fmt: skip
    why = "; ".join(filter(None, [
        "a person asked for it" if search.is_retry else None,
        "an earlier answer was in doubt when it began" if search.is_doubtful else None,
        search.reason if search.reason != trail.reason else None,
    ])) or None  # fmt: skip
    key, began = f"search {search.id}", moment_of(search.id)
    if search.begun_for == trail.id:
        yield Step(key, "search", "A search began for it", began, why, facts=facts, after=("lookup",))
        return
    yield Step(key, "search", "A search began for", began, why, facts=facts, lookup=search.begun_for)
    reused = search.ended_at is not None and search.ended_at <= trail.created_at
    what = "It took that search's answer" if reused else "It joined that search"
    yield Step(f"joined {search.id}", "search", what, max(began, trail.created_at), after=("lookup", key))


def _question(question: Question, trail: Trail, before: Question | None) -> Iterator[Step]:
    """Tell of one question, which followed on *before*: queued, asked, called back, and its end."""
    id, name = question.id, question.provider
    queued, asked, end = f"queued {id}", f"asked {id}", f"end {id}"
    cause = f"end {before.id}" if before and not _came_late(before, question) else f"search {question.search_id}"
    yield Step(queued, "job", f"A question to {name} was queued", moment_of(id), after=(cause,),
               facts=_facts(("job", id)))  # fmt: skip
    if question.submitted_at is not None:
        facts = _facts(("attempt", question.attempt if question.attempt > 1 else None),
                       ("request", question.request_id),
                       ("credits reserved", question.reserved))  # fmt: skip
        why = "the attempts before did nothing; the last one is shown" if question.attempt > 1 else None
        yield Step(asked, "job", f"{name} was asked", question.submitted_at, why, facts=facts, after=(queued,))
    applied = []
    for place, callback in enumerate(one for one in trail.callbacks if one.job_id == id):
        key = f"callback {id} {place}"
        applied += [key] if callback.verdict == "applied" else []
        yield _callback(key, callback, queued)
    if question.finished_at is None:
        yield _waiting(end, question)
        return
    what = ENDS.get(question.state, "{} answered " + BY[question.answered_by]).format(name)
    facts = _facts(("credits", question.credits if question.answered_by else None),
                   ("possibly charged", question.possible), ("polls", question.polls))  # fmt: skip
    yield Step(end, "job", what.strip(), question.finished_at, question.error, question.state, facts,
               texts=_texts(("what could not be read", question.raw)), after=(asked, *applied))  # fmt: skip


def _came_late(answer: Question, following: Question) -> bool:
    """Tell whether the end of *answer* is that of a late answer: then the next question had been asked before."""
    at, asked = answer.finished_at, following.submitted_at
    return at is not None and asked is not None and at > asked


def _callback(key: str, callback: CalledBack, queued: str) -> Step:
    if callback.is_count:
        return Step(key, "callback", f"{callback.times:,} more callbacks of {callback.provider}", callback.at,
                    callback.flag or "their bodies are not kept", after=(queued,))  # fmt: skip
    facts = _facts(("times", callback.times if callback.times > 1 else None))
    why = ": ".join(filter(None, (VERDICTS[callback.verdict], callback.flag)))
    return Step(key, "callback", f"A callback of {callback.provider}", callback.at, why, facts=facts,
                texts=_texts(("its body", callback.body)), after=(queued,))  # fmt: skip


def _waiting(key: str, question: Question) -> Step:
    """Tell what an open question waits for."""
    name, why, due = question.provider, question.error, question.due_at
    if question.held is not None:
        what, why = f"The question to {name} waits", "; ".join(filter(None, (HELD[question.held], why)))
        due = None
    elif question.state == "queued":
        what = f"{name} is asked {'again ' if question.attempt else ''}as soon as its limits allow"
    elif question.state == "submitting":
        what, due = f"{name} is being asked at this moment", question.lease_expires_at
    else:
        what = f"{name} has the question: a callback ends it, or a poll" if question.callback_expected else (
            f"{name} has the question: a poll ends it")  # fmt: skip
    state = "held" if question.held else question.state
    facts = _facts(("polls", question.polls), ("attempts", question.attempt if question.attempt > 1 else None))
    return Step(key, "job", what, None, why, state, facts, due=due, texts=_texts(("what could not be read",
                question.raw)))  # fmt: skip


def _result(trail: Trail) -> Iterator[Step]:
    """Tell how the lookup ended; or, where no question is open, that it has yet to be decided."""
    if trail.finished_at is not None:
        by = f", by {trail.provider}" if trail.provider else ""
        search = trail.search_id
        ends = (
            f"end {question.id}"
            for question in trail.questions
            if question.finished_at is not None and question.finished_at <= trail.finished_at  # others came late
        )
        yield Step("result", "result", f"The lookup ended: {trail.status.replace('_', ' ')}{by}", trail.finished_at,
                   trail.reason, trail.status, _facts(("numbers called wrong", trail.refused)),
                   after=("lookup", f"search {search}", f"joined {search}", *ends))  # fmt: skip
    elif not any(question.finished_at is None for question in trail.questions):
        yield Step("result", "result", "It is decided anew in a moment", None, state=trail.status)


def _delivery(delivery: Delivered) -> Iterator[Step]:
    key, made = f"delivery {delivery.id}", moment_of(delivery.id)
    yield Step(key, "delivery", f"A result for {delivery.channel} was written", made, after=("result",),
               facts=_facts(("delivery", delivery.id)))  # fmt: skip
    facts = _facts(("tries begun", delivery.attempt), ("tries that failed", delivery.tries))
    why = "; ".join(filter(None, (delivery.reason, delivery.error))) or None
    texts = _texts(("the answer", delivery.answer))
    if delivery.ended_at is not None:
        what = f"{delivery.channel}: {delivery.state.replace('_', ' ')}"
        yield Step(f"{key} end", "delivery", what, delivery.ended_at, why, delivery.state, facts, texts=texts,
                   after=(key,))  # fmt: skip
    else:
        what = f"{delivery.channel} is told {'again ' if delivery.attempt else ''}when it is due"
        yield Step(f"{key} end", "delivery", what, None, why, delivery.state, facts, texts=texts, due=delivery.due_at)


def _act(act: Act, trail: Trail) -> Step:
    what = f"{act.who} {ACTS.get(act.action, act.action)}"
    why = "the number was called wrong" if act.detail.get("wrong_number") else None
    ours = {str(trail.id), *(str(delivery.id) for delivery in trail.deliveries)}
    facts = _facts(("with all of selection", act.subject if act.subject not in ours else None))
    return Step(f"act {act.at} {act.action}", "person", what, act.at, why, facts=facts, after=("lookup",))


def _facts(*pairs: tuple[str, str | int | Decimal | UUID | None]) -> tuple[tuple[str, str], ...]:
    """Return those that say something, as texts."""
    return tuple(
        (name, f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)) for name, value in pairs if value
    )


def _texts(*pairs: tuple[str, Verbatim | None]) -> tuple[tuple[str, Verbatim], ...]:
    return tuple((name, text) for name, text in pairs if text is not None)
