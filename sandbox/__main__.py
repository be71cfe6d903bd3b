"""`python -m sandbox leadmagic`, `nyne` and `hubspot`: a pretend vendor on a port of its own."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
import uvloop
from pydantic import BaseModel
from starlette.types import ASGIApp

from sandbox.admin import MANUAL
from sandbox.behaviours import VendorName, manual
from sandbox.faults import Faults
from sandbox.hubspot import admin as hubspot_admin
from sandbox.hubspot import behaviours as hubspot_behaviours
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.events import Dialect, Subscription
from sandbox.hubspot.faults import Faults as HubSpotFaults
from sandbox.hubspot.signing import Signing
from sandbox.latency import milliseconds
from sandbox.leadmagic import LeadMagic, LeadMagicSettings
from sandbox.limiter import WindowKind
from sandbox.nyne import Nyne, NyneSettings
from sandbox.nyne_answers import ErrorShape
from sandbox.server import listen, serve

LM = LeadMagicSettings()
NY = NyneSettings()
HS = HubSpotSettings()

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")]
Key = Annotated[str, typer.Option(help="The account's key.")]
Rate = Annotated[float, typer.Option(min=0, max=1, help="Share of people with a number.")]
Balance = Annotated[float, typer.Option(help="Credits to begin with.")]
Seed = Annotated[int, typer.Option(help="Seed of the dice for faults and delays.")]
Limit = Annotated[int, typer.Option(min=0, help="Requests let through; 0 for no limit.")]
Window = Annotated[WindowKind, typer.Option(help="How the vendor counts.")]
LedgerFile = Annotated[
    Path | None, typer.Option("--ledger", help="File to which each charge is appended as a JSON line.")
]


def help_for(vendor: VendorName, opening: str) -> str:
    """Return the text of --help: what it is, the words of the table, the admin, the faults."""
    steering = (
        "A LinkedIn slug, the local part of an e-mail address or a name is split at two hyphens; the parts "
        "below choose what happens. Without one, a hash of the person decides, by --match-rate. For instance:"
    )
    example = "\b\n  linkedin.com/in/lm-none--ny-late--42\n  lm-500once--ny-silent--jane@acme.test"
    return _help(opening, steering, example, words=manual(vendor), admin=MANUAL, faults=Faults)


def help_for_hubspot() -> str:
    """Return the text of --help: what it is, the words of contacts, the admin, the faults, the subscription."""
    steering = (
        "A LinkedIn slug, the local part of an e-mail address or a name is split at two hyphens; the parts "
        "below choose what happens to the contact, beside those of LeadMagic and Nyne. For instance:"
    )
    return _help(
        "Play HubSpot: contacts, properties, search and webhooks of one account.",
        steering,
        "\b\n  linkedin.com/in/hs-lockedonce--lm-found--jane",
        words=hubspot_behaviours.manual(),
        admin=hubspot_admin.MANUAL,
        faults=HubSpotFaults,
        further=f"\b\nThe document of POST /sandbox/subscription:\n{_columns(_described(Subscription))}",
    )


def _help(
    *opening: str,
    words: Mapping[str, str],
    admin: Mapping[str, str],
    faults: type[BaseModel],
    further: str = "",
) -> str:
    first, *others = opening
    blocks = (
        first,
        'Prints {"listening": "http://HOST:PORT"} when ready. SIGTERM ends it.',
        *others,
        f"\b\n{_columns(words)}",
        f"\b\nFor testers, no credentials:\n{_columns(admin)}",
        f"\b\nThe document of POST /sandbox/faults, every field optional:\n{_columns(_described(faults))}",
        further,
    )
    return "\n\n".join(filter(None, blocks))


def _described(model: type[BaseModel]) -> dict[str, str]:
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _columns(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows.items())


cli = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="Pretend vendors for demo, tests and benchmarks.",
)


@cli.command(help=help_for("leadmagic", "Play LeadMagic: answers at once, 5 credits for a number."))
def leadmagic(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8101,
    api_key: Key = LM.api_key,
    match_rate: Rate = LM.match_rate,
    latency: Annotated[
        str, typer.Option(help="Answering time: `page` (P50 300 ms, P95 1 s, P99 2 s) or milliseconds.")
    ] = LM.latency,
    slow_seconds: Annotated[float, typer.Option(min=0, help="How long `lm-slow` takes.")] = LM.slow_seconds,
    per_second: Limit = LM.per_second,
    per_minute: Limit = LM.per_minute,
    per_hour: Limit = LM.per_hour,
    per_day: Limit = LM.per_day,
    window: Window = LM.window,
    balance: Balance = LM.balance,
    seed: Seed = LM.seed,
    ledger: LedgerFile = None,
) -> None:
    """Serve until SIGTERM."""
    try:
        latency == "page" or milliseconds(latency)
    except ValueError:
        raise typer.BadParameter("is `page` or a number of milliseconds", param_hint="--latency") from None
    settings = LeadMagicSettings(
        api_key=api_key,
        match_rate=match_rate,
        latency=latency,
        slow_seconds=slow_seconds,
        per_second=per_second,
        per_minute=per_minute,
        per_hour=per_hour,
        per_day=per_day,
        window=window,
        balance=_whole(balance),
        seed=seed,
        ledger=ledger,
    )
    _play(lambda: LeadMagic(settings), host, port)


@cli.command(help=help_for("nyne", "Play Nyne: accepts with 202, calls back, can be polled."))
def nyne(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8102,
    api_key: Key = NY.api_key,
    api_secret: Annotated[str, typer.Option(help="The account's secret.")] = NY.api_secret,
    match_rate: Rate = NY.match_rate,
    work_seconds: Annotated[
        float, typer.Option(min=0, help="Mean time from the 202 to the completion.")
    ] = NY.work_seconds,
    late_seconds: Annotated[float, typer.Option(min=0, help="For `ny-late` and `ny-silentslow`.")] = NY.late_seconds,
    credits_per_found: Annotated[
        float, typer.Option(min=0, help="Price of a number; Nyne prints none.")
    ] = NY.credits_per_found,
    error_shape: Annotated[
        ErrorShape, typer.Option(help="Errors as {error:{code,message}} or as {error,message}.")
    ] = NY.error_shape,
    refuse_private_callbacks: Annotated[
        bool, typer.Option("--refuse-private-callbacks", help="400 to a callback_url on a private host.")
    ] = NY.refuse_private_callbacks,
    per_second: Limit = NY.per_second,
    per_minute: Limit = NY.per_minute,
    per_hour: Limit = NY.per_hour,
    per_day: Limit = NY.per_day,
    window: Window = NY.window,
    balance: Balance = NY.balance,
    seed: Seed = NY.seed,
    ledger: LedgerFile = None,
) -> None:
    """Serve until SIGTERM."""
    settings = NyneSettings(
        api_key=api_key,
        api_secret=api_secret,
        match_rate=match_rate,
        work_seconds=work_seconds,
        late_seconds=late_seconds,
        credits_per_found=_whole(credits_per_found),
        error_shape=error_shape,
        refuse_private_callbacks=refuse_private_callbacks,
        per_second=per_second,
        per_minute=per_minute,
        per_hour=per_hour,
        per_day=per_day,
        window=window,
        balance=_whole(balance),
        seed=seed,
        ledger=ledger,
    )
    _play(lambda: Nyne(settings), host, port)


@cli.command(help=help_for_hubspot())
def hubspot(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8103,
    access_token: Annotated[str, typer.Option(help="The app's token, with every scope.")] = HS.access_token,
    portal_id: Annotated[int, typer.Option(help="The account.")] = HS.portal_id,
    app_id: Annotated[int, typer.Option(help="The app.")] = HS.app_id,
    time_zone: Annotated[str, typer.Option(help="The account's zone, whose midnight ends the day.")] = HS.time_zone,
    per_ten_seconds: Limit = HS.per_ten_seconds,
    searches_per_second: Limit = HS.searches_per_second,
    per_day: Limit = HS.per_day,
    index_lag: Annotated[
        tuple[float, float], typer.Option(help="Least and most seconds until searches see a change.")
    ] = HS.index_lag,
    latency: Annotated[float, typer.Option(min=0, help="Answering time in milliseconds.")] = HS.latency,
    slow_seconds: Annotated[float, typer.Option(min=0, help="How long `hs-slow` takes.")] = HS.slow_seconds,
    late_seconds: Annotated[float, typer.Option(min=0, help="How late the webhooks of `hs-late` are.")] = (
        HS.late_seconds
    ),
    webhook_url: Annotated[str | None, typer.Option(help="Where webhooks go; none without.")] = None,
    client_secret: Annotated[str, typer.Option(help="The secret that signs webhooks.")] = HS.subscription.client_secret,
    signing: Annotated[Signing, typer.Option(help="How webhooks are signed.")] = HS.subscription.signing,
    dialect: Annotated[Dialect, typer.Option(help="contact.creation or object.creation.")] = HS.subscription.dialect,
    batch_seconds: Annotated[
        float, typer.Option(min=0, help="How long events are gathered for one POST.")
    ] = HS.batch_seconds,
    retry_seconds: Annotated[
        float, typer.Option(min=0, help="Mean pause between attempts of a webhook; HubSpot's is 2.4 hours.")
    ] = HS.retry_seconds,
    seed: Seed = HS.seed,
) -> None:
    """Serve until SIGTERM."""
    shortest, longest = index_lag
    if not 0 <= shortest <= longest:
        raise typer.BadParameter("is two numbers, the smaller one first", param_hint="--index-lag")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter("is no zone that this machine knows", param_hint="--time-zone") from None
    settings = HubSpotSettings(
        access_token=access_token,
        portal_id=portal_id,
        app_id=app_id,
        time_zone=time_zone,
        per_ten_seconds=per_ten_seconds,
        searches_per_second=searches_per_second,
        per_day=per_day,
        index_lag=index_lag,
        latency=latency / 1000,
        slow_seconds=slow_seconds,
        late_seconds=late_seconds,
        batch_seconds=batch_seconds,
        retry_seconds=retry_seconds,
        subscription=Subscription(url=webhook_url, client_secret=client_secret, signing=signing, dialect=dialect),
        seed=seed,
    )
    _play(lambda: HubSpot(settings), host, port)


def _play(create: Callable[[], ASGIApp], host: str, port: int) -> None:
    listener = _listen(host, port)
    try:
        vendor = create()
    except OSError as exc:
        _give_up(f"The ledger file cannot be written: {exc}.")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(vendor, listener, _announce))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            _give_up(f"Port {port} on {host} is taken; choose another one with --port.")
        _give_up(f"Cannot listen on {host}, port {port}: {exc.strerror}.")


def _announce(url: str) -> None:
    typer.echo(json.dumps({"listening": url}))


def _give_up(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)


def _whole(amount: float) -> float:
    """Return *amount* as an int where it is whole: vendors write 5, not 5.0."""
    return int(amount) if amount.is_integer() else amount


if __name__ == "__main__":
    cli(prog_name="python -m sandbox")
