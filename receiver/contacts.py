"""An event's body as wishes: each contact checked, or every field that is wrong named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple

from pydantic import ValidationError

from enrichment.contact import Contact, NotUsable, read_contact
from enrichment.providers.base import Provider
from enrichment.wish import Wish
from receiver.messages import EventBody, EventContact
from receiver.problems import Problem, wrong_fields

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some CRMs' libraries still send it


class _Wrong(Exception):
    """(field, message) for each field of one contact that cannot be used."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        self.problems = problems
        super().__init__()


def read_wishes(
    body: bytes, *, source: str, message_id: str | None, providers: Mapping[str, Provider]
) -> tuple[Wish, ...]:
    """The wishes in *body*, in order.  Raises Problem: 400 for what is no JSON, 422 naming each wrong field.

    *message_id* stands for the event's id where the body has none.
    """
    event = _parse(body)
    contacts = [event] if event.contacts is None else event.contacts
    wishes: list[Wish] = []
    wrong: list[tuple[str, str]] = []
    for index, contact in enumerate(contacts):
        own_id = contact.event_id or _id_within(event.event_id or message_id, index, len(contacts))
        try:
            wishes.append(_wish(contact, event, source, own_id, providers))
        except _Wrong as error:
            place = "" if event.contacts is None else f"contacts[{index}]"
            wrong.extend((".".join(filter(None, (place, field))), message) for field, message in error.problems)
    if wrong:
        raise wrong_fields(wrong)
    return tuple(wishes)


def _parse(body: bytes) -> EventBody:
    try:
        return EventBody.model_validate_json(body.removeprefix(BYTE_ORDER_MARK))
    except ValidationError as error:
        # Neither the input nor the context: they hold what was sent.
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        if errors[0]["type"] == "json_invalid":
            raise Problem(400, f"The body is not JSON. {errors[0]['msg']}") from None
        raise wrong_fields((_path(e["loc"]), e["msg"]) for e in errors) from None


def _path(loc: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".")


def _id_within(event_id: str | None, index: int, contacts: int) -> str | None:
    """The id of one contact's own event, where the event has one id for all of them."""
    if not event_id or contacts == 1:
        return event_id
    return f"{event_id}:{index}"


def _wish(
    given: EventContact, event: EventBody, source: str, event_id: str | None, providers: Mapping[str, Provider]
) -> Wish:
    problems: list[tuple[str, str]] = []
    wanted = given.providers or event.providers
    if wanted and (unknown := [name for name in wanted if name not in providers]):
        place = f"providers[{wanted.index(unknown[0])}]"
        problems.append((place, f"who can be asked here: {', '.join(providers)}"))
    try:
        contact = read_contact(
            profile_url=given.profile_url,
            work_email=given.work_email,
            personal_email=given.personal_email,
            name=given.name,
            company=given.company,
            region=given.region or event.region,
        )
    except NotUsable as error:
        problems.extend(error.problems)
    if problems:
        raise _Wrong(*problems)
    chosen = list(dict.fromkeys(wanted or providers))
    able = tuple(name for name in chosen if providers[name].can_ask(contact))
    if not able:
        raise _Wrong(("", f"{_and(chosen)} cannot look up by a name alone; give a profile_url or an e-mail"))
    record_id = given.record_id or None
    return Wish(contact, able, record_id, event_id, _content(contact, wanted))


def _content(contact: Contact, wanted: list[str] | None) -> str:
    """The same for the same wish, however it was written."""
    return hashlib.sha256(json.dumps([astuple(contact), wanted]).encode()).hexdigest()


def _and(names: list[str]) -> str:
    return " and ".join(names)
