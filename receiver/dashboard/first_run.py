"""What is set and connected, and what is still to do: one check for each thing that an installation needs, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from enrichment.guards import read_budgets
from enrichment.public_addresses import is_public
from enrichment.settings import Settings

State = Literal["done", "to do", "optional"]
LOCAL = (".localhost", ".local", ".internal")
FREE_OF_CHARGE = "`ringback doctor` on the machine asks every provider for free, and says what is wrong."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an installation needs: its state, what was found, and what to do; `code` in backticks."""

    about: str
    state: State
    found: str
    remedy: str = ""
    paste: tuple[str, ...] = ()  # lines for the environment


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks are about, as the database and the browser tell it."""

    came_by: str  # the address that this browser used
    providers: Mapping[str, Mapping[str, Any]]  # that a submitter registered
    balances: Mapping[str, Mapping[str, Any]]
    processes: Mapping[str, Mapping[str, Any]]  # that are connected to the database


def checks(settings: Settings, facts: Facts) -> Iterator[Check]:
    """Yield the checks, in the order in which one needs what they are about."""
    yield _public_address(settings.public_url, facts.came_by)
    yield from _processes(facts.processes)
    for name in settings.providers:
        yield _provider(name, settings.provider(name).needed, facts)
    yield _budgets(settings)


def later(settings: Settings) -> Iterator[Check]:
    """Yield the checks of what one needs once contacts come in."""
    yield _results(settings)
    yield _metrics(settings)


def _public_address(url: str | None, came_by: str) -> Check:
    about = "Public address"
    offered = (f"PUBLIC_URL={came_by}",) if came_by.startswith("https://") and not _is_local(came_by) else ()
    if url is None:
        return Check(
            about, "to do", "`PUBLIC_URL` is not set: Nyne is polled and cannot call back, and no CRM's event can be "
            "verified.", "Set it, for every process, to the https address by which the internet reaches this receiver.",
            offered or ("PUBLIC_URL=https://ringback.example.com",),
        )  # fmt: skip
    if _is_local(url):
        found = f"`PUBLIC_URL` is {url}, which only this machine or network reaches."
        return Check(about, "to do", found, "Providers and CRMs need a public https address. Set it there.", offered)
    if not url.startswith("https://"):
        found = f"`PUBLIC_URL` is {url}, which is not encrypted."
        return Check(about, "to do", found, "Callbacks carry numbers, and their address is a credential: use https.")
    if _origin(url) == came_by:
        return Check(about, "done", f"`PUBLIC_URL` is {url}, and this browser came by it.")
    found = f"`PUBLIC_URL` is {url}; this browser came by {came_by}, which may be right as well."
    return Check(about, "done", found, "`ringback doctor` on the machine checks that `PUBLIC_URL` leads here.")


def _processes(seen: Mapping[str, Mapping[str, Any]]) -> Iterator[Check]:
    duties = {
        "submitter": "asks providers, reads contacts and sends results",
        "reconciler": "fetches what never came back, and sweeps CRMs",
    }
    for name, duty in duties.items():
        about, row = name.capitalize(), seen.get(name)
        if row is None:
            module = "submitter" if name == "submitter" else "submitter.reconciler"
            found = f"No {name} is connected to the database. It {duty}."
            yield Check(about, "to do", found, f"Start one: `ringback up` starts all, `python -m {module}` this one.")
            continue
        # PostgreSQL hides the moment from another role than the process's own.
        since = f", since {row['since'].astimezone(UTC):%Y-%m-%d %H:%M}" if row["since"] else ""
        running = "1 is" if row["processes"] == 1 else f"{row['processes']} are"
        yield Check(about, "done", f"{running} connected to the database{since}. It {duty}.")


def _provider(name: str, needed: Sequence[str], facts: Facts) -> Check:
    about, row = f"Provider {name}", facts.providers.get(name)
    if row is None:
        found = "No submitter with its credentials has started yet."
        remedy = "Set these for every submitter and reconciler, and start them again."
        return Check(about, "to do", found, remedy, tuple(f"{name}_{one}=".upper() for one in needed))
    if row["paused_at"]:
        remedy = (
            "Mend that at the provider; it is asked for free until it is well again. "
            f"`ringback resume --provider {name}` lets go by hand."
        )
        return Check(about, "to do", f"It is paused: {row['paused_reason']}.", remedy)
    told = facts.balances.get(name)
    if told is None or told["balance"] is None:
        return Check(about, "done", "A submitter asks it. Its balance is not known here.", FREE_OF_CHARGE)
    at = told["at"].astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    found = f"A submitter asks it. Its balance was {told['balance']:,.0f} at {at}."
    if told["balance"] <= 0:
        return Check(about, "to do", found, "Top it up at the provider.")
    return Check(about, "done", found)


def _budgets(settings: Settings) -> Check:
    count = len(read_budgets(settings))
    if count:
        return Check(
            "Budgets", "done", "One is set." if count == 1 else f"{count} are set.", "The page Now shows them."
        )
    return Check(
        "Budgets", "to do", "None is set: nothing but the balance limits what may be spent.",
        "Set the most that a UTC day and a UTC month may cost, for every process. At the limit lookups wait; none is "
        "lost.", ("BUDGET_CREDITS_PER_DAY=", "BUDGET_CREDITS_PER_MONTH="),
    )  # fmt: skip


def _results(settings: Settings) -> Check:
    if settings.result_webhook_url:
        host = urlsplit(settings.result_webhook_url).hostname
        return Check("Result webhook", "done", f"Every result is sent to {host}, signed.", "Its deliveries show how.")
    return Check(
        "Result webhook", "optional", "This receiver's settings name none. Numbers go back to the CRM without it.",
        "To send every result to a program of yours, set these for the submitters and reconcilers. "
        "`ringback doctor` checks them.", ("RESULT_WEBHOOK_URL=https://", "RESULT_WEBHOOK_SECRET=whsec_"),
    )  # fmt: skip


def _metrics(settings: Settings) -> Check:
    if settings.metrics_token:
        return Check("Metrics", "done", "`/metrics` asks for `METRICS_TOKEN`.")
    return Check(
        "Metrics", "optional", "`/metrics` is open to all who reach this receiver. It holds counts, and no person.",
        "Set `METRICS_TOKEN`, or let the proxy keep it from the internet, as those in ops/ do.", ("METRICS_TOKEN=",),
    )  # fmt: skip


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not is_public(str(ip_address(host)))
    except ValueError:
        return host == "localhost" or host.endswith(LOCAL)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
