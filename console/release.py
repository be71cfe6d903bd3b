"""`ringback release`: let held lookups go on."""

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


def release(
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
    """Let held lookups go on: of a budget, a paused provider, the flood guard, the brake or a restore.

    They are held again if the reason is still there; the flood guard and a restore never hold them again. The preview
    says what that can cost at most. Nothing is changed before you have seen what was found and said yes. Exactly that
    is changed then: what comes later is left alone, and so is what has changed meanwhile.

    \b
      ringback release --reason flood --source hubspot
      ringback release --reason budget --yes
      ringback release --reason restored --source hubspot
    """
    run(
        "release", Manner(yes, dry_run, as_json, resume), id=id, status=status, source=source, provider=provider,
        since=since, until=until, record_id=record_id, reason=reason,
    )  # fmt: skip
