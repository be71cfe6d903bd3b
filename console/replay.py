"""`ringback replay`: send results again."""

from __future__ import annotations

from console.selecting import (
    AsJson,
    Channel,
    DryRun,
    Id,
    Manner,
    Provider,
    Reason,
    RecordId,
    Resume,
    Since,
    Source,
    State,
    Status,
    Until,
    Yes,
    run,
)


def replay(
    *,
    id: Id = None,
    status: Status = None,
    source: Source = None,
    provider: Provider = None,
    since: Since = None,
    until: Until = None,
    record_id: RecordId = None,
    reason: Reason = None,
    channel: Channel = None,
    state: State = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Send results again: to the result webhook, or to the CRM.

    Without --state, every delivery that has ended: delivered, refused, given_up or skipped. --since and --until are of
    the delivery. Nothing is changed before you have seen what was found and said yes. Exactly that is changed then:
    what comes later is left alone, and so is what has changed meanwhile.

    \b
      ringback replay --state given_up --since 2026-11-01
      ringback replay --channel webhook --source hubspot --dry-run
    """
    run(
        "replay", Manner(yes, dry_run, as_json, resume), id=id, status=status, source=source, provider=provider,
        since=since, until=until, record_id=record_id, reason=reason, channel=channel, state=state,
    )  # fmt: skip
