"""`ringback retry`: ask again for lookups that failed or are unresolved."""

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


def retry(
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
    """Ask again for lookups that failed or are unresolved.

    The preview says what that can cost at most. Nothing is changed before you have seen what was found and said yes.
    Exactly that is changed then: what comes later is left alone, and so is what has changed meanwhile.

    \b
      ringback retry --status failed --since 2026-11-01 --dry-run
      ringback retry --provider nyne --reason timeout
      ringback retry --id 019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b --yes
    """
    run(
        "retry", Manner(yes, dry_run, as_json, resume), id=id, status=status, source=source, provider=provider,
        since=since, until=until, record_id=record_id, reason=reason,
    )  # fmt: skip
