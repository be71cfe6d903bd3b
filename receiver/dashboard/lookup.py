"""The page of one lookup: the person, the number when it is asked for, what a person may decide, and the timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from enrichment.timeline import tell
from receiver.auth import who
from receiver.dashboard.desk import Desk, demand
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import as_page, back_to
from receiver.problems import Problem, id_of, not_found, wrong_fields
from store import audit, deliveries, lookups, reports
from store.timeline import read_trail

DECISIONS = ("retry", "wrong_number", "cancel", "release", "replay")
CONFLICT = 409


class LookupPage:
    """The handlers of the page and of its forms."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decisions = desk.decisions

    async def page(self, request: Request) -> Response:
        """Answer GET /lookups/{id}."""
        return await self._show(request, id_of(request, "lookup"))

    async def decide(self, request: Request) -> Response:
        """Answer POST /lookups/{id}: reveal what is masked, or decide what the form says."""
        id = id_of(request, "lookup")
        form = read_form(request)
        decision = form.get("do", "")
        if decision == "reveal":
            return await self._reveal(request, id)
        if decision not in DECISIONS:
            raise wrong_fields([("do", f"one of reveal, {', '.join(DECISIONS)}")])
        demand(request, "operate")
        try:
            said = await self._carry_out(decision, id, form, who(request))
        except Problem as problem:
            if problem.status != CONFLICT:
                raise
            return await self._show(request, id, CONFLICT)
        return back_to(f"/lookups/{id}", said)

    async def _reveal(self, request: Request, id: UUID) -> Response:
        """Show everything, in this answer only. It is recorded first."""
        if await reports.status_of(self._desk.pool, id) is None:
            raise not_found("lookup")
        await audit.record(self._desk.pool, who=who(request), action="reveal", subject=id)
        return await self._show(request, id, revealed=True)

    async def _carry_out(self, decision: str, id: UUID, form: dict[str, str], name: str) -> str:
        """Decide; return the code of what the page then says. Raise Problem."""
        match decision:
            case "retry" | "wrong_number":
                done = await self._decisions.retry(
                    id, wrong_number=decision == "wrong_number", ended=_ended(form), who=name
                )
                if decision == "wrong_number":
                    return "number-wrong"
                return "retried-doubtful" if done.doubtful else "retried"
            case "cancel":
                await self._decisions.cancel(id, who=name)
                return "cancelled"
            case "release":
                await self._decisions.release(id, who=name)
                return "released"
            case _:
                await self._decisions.replay(await self._delivery(id, form.get("delivery", "")), who=name)
                return "sent-again"

    async def _delivery(self, id: UUID, text: str) -> UUID:
        """Return the delivery of this lookup that the form names. Raise Problem (404)."""
        found: dict[str, UUID] = {
            str(row["id"]): row["id"] for row in (await deliveries.deliveries_of(self._desk.pool, [id])).get(id, [])
        }
        if text not in found:
            raise not_found("delivery")
        return found[text]

    async def _show(self, request: Request, id: UUID, status: int = 200, *, revealed: bool = False) -> Response:
        pool = self._desk.pool
        rows = await reports.read_lookups(pool, [id])
        trail = await read_trail(pool, id, with_bodies=revealed)
        if not rows or trail is None:
            raise not_found("lookup")
        return as_page(
            request, "lookup.html", status, lookup=rows[0], trail=trail, steps=tell(trail), revealed=revealed,
            conflict=status == CONFLICT, doubtful=await lookups.possibly_charged(pool, id),
            most_credits=self._most_credits(trail.providers),
        )  # fmt: skip

    def _most_credits(self, providers: Sequence[str]) -> Decimal:
        """Return what it may cost to ask all of them again."""
        known = self._desk.providers
        return sum((known[name].price for name in providers if name in known), Decimal(0))


def _ended(form: Mapping[str, str]) -> datetime:
    """Return when the end came that the page showed: a form that is sent twice must not decide about the next one.

    Raise Problem (409).
    """
    try:
        return datetime.fromisoformat(form.get("ended", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(CONFLICT, "The form does not say what it is about.") from None
