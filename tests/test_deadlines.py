"""Nothing waits for ever: every wait and its bound, in one table; and that there are no other waits."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from console import machine
from enrichment.providers import waits
from enrichment.settings import setting_fields
from receiver import app, bodies, clients, patience, readiness, server, shared_metrics, turnstile
from receiver.connection import LINGER
from receiver.dashboard import counted
from store import connection, database, group_commit, indexes, lock_waits, migrations, notify
from submitter import __main__ as submitter
from submitter import backoff, checks, counting, leased, outcomes, poll, reconciler, submit, transport
from tests.commands import ROOT

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
SERVICES = ("enrichment", "store", "receiver", "submitter")


class Wait(NamedTuple):
    """Something that is waited for, *seconds* as it is set, and *at_most* as it may be."""

    what: str
    seconds: float
    at_most: float


def default(name: str) -> float:
    """Return the default of a setting."""
    return float(setting_fields()[name].default)


def most(name: str) -> float:
    """A setting at its highest."""
    return float(next(bound.le for bound in setting_fields()[name].metadata if hasattr(bound, "le")))


def on_the_server(name: str) -> float:
    """One of the server's own bounds."""
    return float(database.SERVER_SETTINGS[name].removesuffix("s"))


def while_migrating(name: str) -> float:
    """The server's own bound while a step is applied, out of its statement."""
    return float(re.findall(rf"{name}_timeout = '(\d+)s'", lock_waits.BRIEFLY)[0])


# The longest a callback may take if the job cannot be polled.
PATIENCE = default("callback_grace_seconds") * outcomes.GRACES_WITHOUT_REQUEST_ID
KEEPALIVE = on_the_server("tcp_keepalives_idle") + on_the_server("tcp_keepalives_interval") * on_the_server(
    "tcp_keepalives_count"
)
WAITS = (
    # the database
    Wait("a connection to it", database.CONNECT_TIMEOUT, 10),
    Wait("a connection out of the pool", database.ACQUIRE_TIMEOUT, 10),
    Wait("a statement, as we see it", database.COMMAND_TIMEOUT, 30),
    Wait("a commit, as its caller sees it", connection.COMMIT_TIMEOUT, 30),
    Wait("a commit that its caller has left", connection.COMMIT_ABANDONED, 10 * MINUTE),
    Wait("a statement, as the server sees it", on_the_server("statement_timeout"), 30),
    Wait("a lock", on_the_server("lock_timeout"), 30),
    Wait("our next statement in a transaction", on_the_server("idle_in_transaction_session_timeout"), 30),
    Wait("a client that is gone", KEEPALIVE, MINUTE),
    Wait("the next try to reach it at the start", migrations.LONGEST_PAUSE, 10),
    Wait("the next try to commit what waits for it", group_commit.LONGEST_PAUSE, 2),
    Wait("an outcome that it refuses to be tried again", submit.LONGEST_PAUSE, 2 * MINUTE),
    Wait("the pool to close", database.CLOSE_TIMEOUT, 10),
    Wait("another migration to end", migrations.TURN_WITHIN, 6 * HOUR),
    Wait("a lock for a migration, while others wait behind it", while_migrating("lock"), 1),
    Wait("all locks of a step", lock_waits.TRY_FOR, MINUTE),
    Wait("a step of a migration", migrations.STEP_WITHIN, 10 * MINUTE),
    Wait("an index of a large table", indexes.CONCURRENTLY_WITHIN, 6 * HOUR),
    Wait("a hint to be sent, or a listener's ping", notify.PATIENCE, 10),
    Wait("a silent listener to be tried", notify.PING_EVERY, MINUTE),
    Wait("the next try of a notifier or listener", notify.LONGEST_PAUSE, MINUTE),
    # those that call us
    Wait("the rest of a body", bodies.SLOWEST, 30),
    Wait("an idle connection's next request", default("idle_timeout_seconds"), 2 * MINUTE),
    Wait("a request's head", default("head_timeout_seconds"), 30),
    Wait("a client to read its answers", default("write_timeout_seconds"), 30),
    Wait("a refused client to read why", LINGER, 5),
    Wait("the same for answers, when the process stops", clients.LEAVING, 10),
    Wait("readiness", readiness.PATIENCE, 2),
    Wait("a silent connection for readiness to be replaced", readiness.LONGEST, 5),
    Wait("a public page, among a flood of requests for it", turnstile.LONGEST, 1),
    Wait("the shared metrics", shared_metrics.PATIENCE, 10),
    Wait("a history to be counted", counted.PATIENCE, 5),
    Wait("PostgreSQL to come back, for a provider's callback", patience.FOR_A_CALLBACK, 20),
    Wait("the same for a CRM's event", max(patience.FOR_AN_EVENT, *patience.FOR_AN_EVENT_OF.values()), 9),
    # those that we call
    Wait("a connection to a provider", transport.CONNECT_TIMEOUT, 10),
    Wait("a provider's answer, whole", default("provider_timeout_seconds"), MINUTE),
    Wait("the same at its highest", most("provider_timeout_seconds"), 10 * MINUTE),
    Wait("an idle connection to a provider", transport.KEEPALIVE, 5),
    Wait("a provider that said Retry-After", waits.LONGEST_WAIT, HOUR),
    Wait("the next attempt", backoff.LONGEST, 10 * MINUTE),
    # work left behind
    Wait("a job whose submitter is silent", default("lease_seconds"), 30),
    Wait("the same at its highest", most("lease_seconds"), HOUR),
    Wait("a queued job that no hint announced", leased.LOOK_EVERY, 2),
    Wait("the same while nothing is queued and hints arrive", leased.IDLE_LOOK_EVERY, 10),
    Wait("work to be noticed by the reconciler", reconciler.LOOK_EVERY, 2),
    Wait("lookups whose search ended, and what is past hope", reconciler.SETTLE_EVERY, 5),
    Wait("held lookups that may go on", reconciler.UNHOLD_EVERY, 10),
    Wait("a paused provider to be asked how it is", checks.CHECK_EVERY.total_seconds(), MINUTE),
    Wait("the first poll where no callback can come", outcomes.FIRST_POLL_WITHOUT_CALLBACK.total_seconds(), MINUTE),
    Wait("the first poll", default("callback_grace_seconds"), 5 * MINUTE),
    Wait("the same at its highest", most("callback_grace_seconds"), DAY),
    Wait("the next poll", poll.LONGEST_INTERVAL.total_seconds(), HOUR),
    Wait("a callback that nobody can ask about", PATIENCE, HOUR),
    Wait("an answer at all", default("job_deadline_hours") * HOUR, 2 * DAY),
    Wait("the same at its highest", most("job_deadline_hours") * HOUR, 366 * DAY),
    Wait("a budget, or a paused account", reconciler.QUEUED_AT_MOST.total_seconds(), 36 * DAY),
    Wait("counters to be added up", counting.EVERY, 15),
    # the end
    Wait("whoever balances the load to notice", server.NOTICE, 5),
    Wait("requests in flight", server.GRACE, 30),
    Wait("cancelled handlers", app.LEAVING, 10),
    Wait("what they handed over to be written", app.WRITING, 30),
    Wait("outcomes to be written after the last answer", submitter.WRITING_TIMEOUT, 30),
    Wait("a receiver to end", machine.CLOSING, MINUTE),
    Wait("a submitter to end after its last answer", machine.DRAINING, MINUTE),
)  # fmt: skip


@pytest.mark.parametrize("wait", WAITS, ids=[wait.what for wait in WAITS])
def test_every_wait_has_a_bound(wait: Wait) -> None:
    """Every wait is finite, and within the bound that this table gives it."""
    assert 0 < wait.seconds <= wait.at_most < math.inf


def test_bounds_are_in_order() -> None:
    """A caller waits longer than what it calls; and keepalives come often enough."""
    lease = default("lease_seconds")

    # The server gives up first, and says why; our own bound is for when it cannot.
    assert on_the_server("lock_timeout") < on_the_server("statement_timeout") <= database.COMMAND_TIMEOUT
    assert while_migrating("lock") < lock_waits.TRY_FOR
    assert while_migrating("statement") <= migrations.STEP_WITHIN <= migrations.TURN_WITHIN
    assert database.CONNECT_TIMEOUT <= database.ACQUIRE_TIMEOUT
    # Five renewals may fail; and work is taken over within half a minute of a SIGKILL.
    assert lease / leased.RENEWALS_PER_LEASE * 5 < lease
    assert lease + min(lease / leased.RENEWALS_PER_LEASE, 3.0) + reconciler.SETTLE_EVERY <= 30
    # Node.js closes after 5 s: we do so before.
    assert transport.KEEPALIVE < 5
    assert default("provider_timeout_seconds") > transport.CONNECT_TIMEOUT
    assert bodies.SLOWEST < server.GRACE
    assert patience.FOR_AN_EVENT < patience.FOR_A_CALLBACK
    # The wait for a stopping process exceeds all waits inside it.
    assert machine.DRAINING >= submitter.WRITING_TIMEOUT + database.CLOSE_TIMEOUT
    assert machine.CLOSING >= server.NOTICE + server.GRACE + app.LEAVING + app.WRITING + database.CLOSE_TIMEOUT


async def test_every_wait_for_the_database_is_bounded() -> None:
    """Connecting, waiting for a connection and each statement have a deadline, on our side and on the server's."""
    assert database.CONNECT_TIMEOUT <= 10
    assert database.ACQUIRE_TIMEOUT <= 10
    assert database.COMMAND_TIMEOUT <= 30
    assert {
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    } <= database.SERVER_SETTINGS.keys()


# What the table cannot show: that there are no other waits.


class Found(NamedTuple):
    """A call somewhere in a service."""

    path: str
    function: str
    call: ast.Call
    within: tuple[ast.AST, ...]

    @property
    def name(self) -> str:
        """Return the name of the call, like `self._pool.acquire`."""
        return ast.unparse(self.call.func)

    @property
    def keywords(self) -> set[str | None]:
        """The arguments that were named."""
        return {keyword.arg for keyword in self.call.keywords}

    def __str__(self) -> str:
        """Where it is, and what."""
        return f"{self.path}:{self.function}: {ast.unparse(self.call)}"


def calls() -> Iterator[Found]:
    """Every call in every service."""
    for room in SERVICES:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield from _calls(ast.parse(file.read_text(encoding="utf-8")), str(file.relative_to(ROOT)), "", ())


def _calls(node: ast.AST, path: str, function: str, within: tuple[ast.AST, ...]) -> Iterator[Found]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function, within = node.name, ()
    if isinstance(node, ast.Call):
        yield Found(path, function, node, within)
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, path, function, (*within, node))


def is_bounded(found: Found) -> bool:
    """Whether a call has a deadline, of its own or around it."""
    for node in (found.call, *found.within):
        if isinstance(node, ast.Call) and any(keyword.arg == "timeout" for keyword in node.keywords):
            return True
        if isinstance(node, ast.AsyncWith) and "asyncio.timeout(" in ast.unparse(node.items[0]):
            return True
    return False


def test_no_connection_is_waited_for_without_a_bound() -> None:
    """Every acquire has a timeout, of its own or around it; a pool's own fetch has the pool's."""
    takes = [found for found in calls() if found.name.endswith(".acquire")]

    assert [str(found) for found in takes if not is_bounded(found)] == []
    assert takes


def test_every_connection_is_opened_in_one_place() -> None:
    """With a bound on connecting, and on every statement that will ever run on it."""
    opens = [
        f for f in calls() if f.name in {"Hosts(url).connect", "asyncpg.create_pool", "PatientPool", "asyncpg.Pool"}
    ]
    tries = [found for found in calls() if found.name == "asyncpg.connect"]

    assert {found.path for found in opens} == {"store/database.py"}
    assert all({"timeout", "command_timeout", "server_settings"} <= found.keywords for found in opens)
    assert {found.path for found in tries} == {"store/hosts.py"}  # each host has a share of the time
    assert all("timeout" in found.keywords for found in tries)


def test_every_session_has_its_bounds() -> None:
    """One module opens the sessions to vendors and CRMs, one the webhook's; each bounds connecting and the whole."""
    opened = [found for found in calls() if found.name.endswith("ClientSession")]
    bounds = [found for found in calls() if found.name.endswith("ClientTimeout")]

    places = {"submitter/transport.py", "submitter/result_session.py"}
    assert {found.path for found in opened} == {found.path for found in bounds} == places
    assert len(opened) == len(bounds) == len(places)
    assert all("timeout" in found.keywords for found in opened)
    assert all({"total", "connect", "sock_connect"} <= found.keywords for found in bounds)


# Waits without a deadline of their own, and why each of them ends.
REVIEWED = {
    "enrichment/lines.py:_next: self._changed.wait()":
        "a thread of its own that waits for lines; the process does not wait for it longer than its flush",
    "receiver/gate.py:counting_send: self._turnstile.wait(scope['path'], status)":
        "turnstile.LONGEST bounds it",
    "store/group_commit.py:close: asyncio.wait(self._running)":
        "each commit has the database's bounds, and whoever closes has one (the receiver's WRITING), or makes the "
        "flush give up (the submitter's WRITING_TIMEOUT)",
    "store/notify.py:run: self._woken.wait()":
        "it waits for work, and is cancelled at the end",
    "receiver/app.py:lifespan: asyncio.wait([notifying])":
        "it was cancelled in the line before, and has nothing to finish",
    "store/sweeper.py:close: asyncio.wait([self._task])":
        "inside the receiver's WRITING; a chunk has the database's bounds, and what is left is swept by the reconciler",
    "submitter/__main__.py:_give_up_after_draining: stop.wait()":
        "it waits for SIGTERM, and is cancelled at the end",
    "submitter/leased.py:settled: asyncio.wait(self._tasks)":
        "each call has the provider's timeout, and each write gives up WRITING_TIMEOUT later",
}  # fmt: skip


def test_every_other_wait_was_thought_about() -> None:
    """A wait without a deadline needs a reason why it ends; a reason without its wait is struck out."""
    waits_for = [found for found in calls() if found.name.rpartition(".")[2] == "wait" and found.name != "wait"]

    assert {str(found) for found in waits_for if not is_bounded(found)} == REVIEWED.keys()
