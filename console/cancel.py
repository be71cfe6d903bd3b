"""`ringback cancel`: end lookups that are no longer wanted."""

from __future__ import annotations

from console.selecting import (
    AsJson,
    DryRun,
    Id,
    Manner,
    Provider,
    Reason,
    RecordId,
    Resume,
    Since,
    Source,
    Status,
    Until,
    Yes,
    run,
)


def cancel(
    *,
    id: Id = None,
    status: Status = None,
    source: Source = None,
    provider: Provider = None,
    since: Since = None,
    until: Until = None,
    record_id: RecordId = None,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Cancel lookups that are queued, held, failed or unresolved.

    A question that is on its way is paid for, so its answer is waited for. Nothing is changed before you have seen
    what was found and said yes. Exactly that is changed then: what comes later is left alone, and so is what has
    changed meanwhile.

    \b
      ringback cancel --status held --source hubspot
      ringback cancel --record-id 4711 --yes
    """
    run(
        "cancel", Manner(yes, dry_run, as_json, resume), id=id, status=status, source=source, provider=provider,
        since=since, until=until, record_id=record_id, reason=reason,
    )  # fmt: skip
