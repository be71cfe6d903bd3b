"""`python -m sandbox leadmagic` and `python -m sandbox nyne`: a pretend vendor on a port of its own."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvloop

from sandbox.admin import MANUAL
from sandbox.behaviours import VendorName, manual
from sandbox.faults import Faults
from sandbox.latency import milliseconds
from sandbox.leadmagic import LeadMagic, LeadMagicSettings
from sandbox.limiter import WindowKind
from sandbox.nyne import Nyne, NyneSettings
from sandbox.nyne_answers import ErrorShape
from sandbox.server import listen, serve
from sandbox.vendor import Vendor

FAULTS = {name: field.description or "" for name, field in Faults.model_fields.items()}
LM = LeadMagicSettings()
NY = NyneSettings()

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
    blocks = (
        opening,
        'Prints {"listening": "http://HOST:PORT"} when ready. SIGTERM ends it.',
        steering,
        "\b\n  linkedin.com/in/lm-none--ny-late--42\n  lm-500once--ny-silent--jane@acme.test",
        f"\b\n{_columns(manual(vendor))}",
        f"\b\nFor testers, no credentials:\n{_columns(MANUAL)}",
        f"\b\nThe document of POST /sandbox/faults, every field optional:\n{_columns(FAULTS)}",
    )
    return "\n\n".join(blocks)


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


def _play(create: Callable[[], Vendor], host: str, port: int) -> None:
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
