"""People, limits, delays, ledger and processes of the pretend vendors."""

from __future__ import annotations

import ast
import asyncio
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import sandbox
from sandbox import server
from sandbox.__main__ import cli
from sandbox.behaviours import PREFIXES, TABLE, UnknownWordError, VendorName, choose
from sandbox.callbacks import false_number, refused_because, wrong_token
from sandbox.latency import latency, of_page
from sandbox.leadmagic import LeadMagic, LeadMagicSettings
from sandbox.limiter import Limiter, WindowKind
from sandbox.nyne import Nyne
from sandbox.people import is_known, mobile_e164, person, slug_of, written
from sandbox.server import running
from sandbox.wire import Asked
from tests.forked import ROOT
from tests.sandbox_server import visiting

VENDORS: tuple[VendorName, ...] = ("leadmagic", "nyne")
KEY = {"X-API-Key": "lm_sandbox"}


def test_every_number_is_valid() -> None:
    """libphonenumber accepts each true and each false number, in every form, and reads back the same one."""
    for n in range(300):
        for number in (mobile_e164(f"slug:{n}"), false_number(f"slug:{n}")):
            for form in ("hyphens", "spaces", "plain", "noplus", "national"):
                parsed = phonenumbers.parse(written(number, form), "US")
                assert phonenumbers.is_valid_number(parsed)
                assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number


def test_a_hash_decides_who_is_known() -> None:
    """About as many as the rate says, each vendor by itself; a person known at a low rate is known at a high one."""
    keys = [f"slug:{n}" for n in range(4000)]
    known = {vendor: {key for key in keys if is_known(key, vendor, 0.6)} for vendor in VENDORS}

    assert all(2200 < len(found) < 2600 for found in known.values())
    assert 1200 < len(known["leadmagic"] & known["nyne"]) < 1700
    assert {key for key in keys if is_known(key, "nyne", 0.2)} < known["nyne"]


@pytest.mark.parametrize(
    "spelling",
    ["jane", "in/jane", "/in/jane", "linkedin.com/in/Jane", "https://de.linkedin.com/in/jane/?a=b#c", "in/jane/de"],
)
def test_a_slug_has_many_spellings(spelling: str) -> None:
    """All spellings are the same person."""
    assert slug_of(spelling) == "jane"


def test_the_strongest_identifier_decides() -> None:
    """The slug, else the work e-mail, else the personal one, else the name with the company."""
    assert person(profile_url="in/jane", work_email="j@a.co") == ("slug:jane", ("jane", "j"))
    assert person(work_email="J@A.co", personal_email="x@y.z") == ("email:j@a.co", ("j", "x"))
    assert person(name=" Jane  Doe ", company="Acme") == ("name:jane doe|acme", ("jane doe",))
    assert person(company="Acme") is None


def test_the_first_word_counts() -> None:
    """The slug's before the e-mail's, each vendor its own, and an unknown word is an error, not a guess."""
    subject = person(profile_url="in/lm-none--ny-late--42", work_email="lm-found--x@acme.test")
    unknown = person(name="lm-nosuchword--x")
    assert subject is not None
    assert unknown is not None

    assert [choose(vendor, subject, 1).word for vendor in VENDORS] == ["none", "late"]
    assert choose("nyne", unknown, 1).word == "found"
    with pytest.raises(UnknownWordError, match="nosuchword"):
        choose("leadmagic", unknown, 1)


def test_the_table_keeps_its_own_rules() -> None:
    """A row that tells a number also finds it; a word is safe inside a slug and free of the separator."""
    for row in TABLE.values():
        assert row.finds or not row.tells
        assert row.word.replace("-", "").isalnum()
        assert "--" not in row.word
        assert row.word == row.word.lower()


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_no_window_lets_through_more(kind: WindowKind) -> None:
    """Under steady pressure each minute gets its allowance, not one more and not one less."""
    now = [1000.0]
    limiter = Limiter([(10, 60)], kind, clock=lambda: now[0])

    let_through = []
    for _ in range(3):
        let_through.append(0)
        for _ in range(600):
            let_through[-1] += limiter.take().allowed
            now[0] += 0.1

    assert let_through == [10, 10, 10]


def test_a_fixed_window_opens_again_at_its_end() -> None:
    """The rest counts down to it, and Retry-After is never too short."""
    now = [0.0]
    limiter = Limiter([(1, 60), (5, 3600)], "fixed", clock=lambda: now[0])
    assert limiter.take().allowed
    now[0] = 59.5

    refused = limiter.take()
    now[0] += refused.retry_after

    assert (refused.allowed, refused.reset, refused.retry_after, refused.limit) == (False, 0.5, 1, 1)
    assert limiter.take().allowed


def test_a_sliding_window_forgets_one_by_one() -> None:
    """Each request leaves the window a minute after it came."""
    now = [0.0]
    limiter = Limiter([(2, 60)], "sliding", clock=lambda: now[0])
    limiter.take()
    now[0] = 30
    limiter.take()

    refused = limiter.take()
    now[0] += refused.retry_after
    after = limiter.take()

    assert (refused.allowed, refused.retry_after) == (False, 30)
    assert (after.allowed, after.remaining) == (True, 0)


def test_the_longest_full_window_is_told() -> None:
    """A full hour matters more than a full minute; a refusal is counted in neither."""
    now = [0.0]
    limiter = Limiter([(2, 60), (2, 3600)], "fixed", clock=lambda: now[0])

    standings = [limiter.take() for _ in range(4)]

    assert [standing.allowed for standing in standings] == [True, True, False, False]
    assert standings[2].retry_after == 3600


def test_without_limits_nothing_is_refused() -> None:
    """And no header speaks of any."""
    limiter = Limiter([(0, 60)])

    assert limiter.take().allowed
    assert limiter.peek().headers() == []


def test_the_delays_are_those_of_the_page() -> None:
    """P50 300 ms, P95 1 s, P99 2 s."""
    draw = latency("page", random.Random(7))
    draws = sorted(draw() for _ in range(20_000))

    assert of_page(0) == pytest.approx(0.3)
    assert [draws[int(len(draws) * share)] for share in (0.5, 0.95, 0.99)] == pytest.approx([0.3, 1, 2], rel=0.1)
    assert latency("250", random.Random(7))() == 0.25


def test_a_wrong_token_is_wrong() -> None:
    """The URL differs in its last segment only, and that is as long as before."""
    url = "https://ring.test/callbacks/nyne/job-1/abcdef0123456789?x=1"

    forged = wrong_token(url)

    assert forged.startswith("https://ring.test/callbacks/nyne/job-1/")
    assert forged.endswith("?x=1")
    assert forged != url
    assert len(forged) == len(url)


@pytest.mark.parametrize(
    ("url", "private", "refused"),
    [
        ("http://localhost:8000/x", False, False),
        ("http://localhost:8000/x", True, True),
        ("http://10.0.0.1/x", True, True),
        ("http://[::1]/x", True, True),
        ("http://ring.internal/x", True, True),
        ("https://ring.example.org/x", True, False),
        ("https://8.8.8.8/x", True, False),
        ("http://host:99999/x", False, True),
        ("https:///x", False, True),
        ("ftp://ring.test/x", False, True),
    ],
)
def test_a_callback_url_is_checked(url: str, private: bool, refused: bool) -> None:
    """http and https only; private hosts when that was asked for."""
    assert (refused_because(url, private=private) is not None) == refused


@given(
    st.one_of(st.binary(), st.dictionaries(st.text(), st.text() | st.integers()).map(lambda d: json.dumps(d).encode()))
)
def test_any_bytes_get_an_answer(body: bytes) -> None:
    """LeadMagic answers every body with a status, and its log can be shown."""
    vendor = LeadMagic(LeadMagicSettings(latency="0"))

    answer = vendor.find(Asked({b"x-api-key": b"lm_sandbox"}, b"", body))

    assert answer.status in {200, 400}
    assert json.dumps([question.as_json() for question in vendor.ledger.questions])


def test_a_lone_surrogate_is_a_person_too() -> None:
    """JSON can write what UTF-8 cannot; the answer, the ledger and the truth survive it."""
    vendor = LeadMagic(LeadMagicSettings(latency="0", match_rate=1))

    answer = vendor.find(Asked({b"x-api-key": b"lm_sandbox"}, b"", b'{"profile_url": "in/\\ud800"}'))

    assert answer.status == 200
    assert vendor.ledger.charges[0].as_json()["person"] == "slug:\ud800"


async def test_the_ledger_is_read_in_pages() -> None:
    """`next` is what to give as `after`, null on the last page."""
    async with running(LeadMagic(LeadMagicSettings(latency="0"))) as url, visiting(url, KEY) as vendor:
        for n in range(5):
            await vendor.send("POST", "/mobile-finder", {"profile_url": f"lm-found--{n}"})

        pages, after = [], "0"
        while after != "None":
            page = await vendor.get("ledger", after=after, limit="2")
            pages.append([entry["n"] for entry in page["entries"]])
            after = str(page["next"])
        refused = await vendor.get("requests", after="x")

    assert pages == [[1, 2], [3, 4], [5]]
    assert refused == {"detail": "after and limit are whole numbers"}


def test_the_ledger_file_holds_every_charge(tmp_path: Path) -> None:
    """One JSON line each, on disk before the answer leaves; a reset empties it, a restart goes on with it."""
    file = tmp_path / "charges.jsonl"

    def ask(vendor: LeadMagic, word: str) -> None:
        vendor.find(Asked({b"x-api-key": b"lm_sandbox"}, b"", b'{"profile_url": "lm-%s--j"}' % word.encode()))

    vendor = LeadMagic(LeadMagicSettings(latency="0", ledger=file))
    ask(vendor, "found")
    vendor.reset()
    for word in ("found", "none", "disconnect"):
        ask(vendor, word)
    vendor.ledger.close()
    again = LeadMagic(LeadMagicSettings(latency="0", ledger=file))
    ask(again, "plain")
    again.ledger.close()

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["person"] for line in lines] == [f"slug:lm-{word}--j" for word in ("found", "disconnect", "plain")]
    assert lines[0]["credits"] == 5


async def test_a_sigterm_never_becomes_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A held question is cut when the vendor stops: a 500 would tell the client that nothing was done."""
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    vendor = LeadMagic(LeadMagicSettings(latency="0"))
    async with aiohttp.ClientSession() as session:
        async with running(vendor) as url:
            held = asyncio.create_task(
                session.post(f"{url}/mobile-finder", json={"profile_url": "lm-hang-charged--j"}, headers=KEY)
            )
            async with asyncio.timeout(5):
                while not vendor.ledger.charges:
                    await asyncio.sleep(0)

        with pytest.raises(aiohttp.ServerDisconnectedError):
            await held


@pytest.mark.parametrize("vendor", VENDORS)
def test_help_and_admin_list_every_word(vendor: VendorName) -> None:
    """Both come from the table."""
    manual = CliRunner().invoke(cli, [vendor, "--help"]).stdout

    for row in TABLE.values():
        assert (f"  {PREFIXES[row.vendor]}{row.word}  " in manual) == (row.vendor == vendor)
    assert "delay_callbacks_seconds" in manual
    assert "GET /sandbox/truth" in manual


async def test_the_behaviours_are_served() -> None:
    """Each comes with its effect, and whether it is charged and readable."""
    async with running(Nyne()) as url, visiting(url, {}) as vendor:
        behaviours = (await vendor.get("behaviours"))["behaviours"]
        manual = await vendor.send("GET", "/sandbox")

    by_word = {row["word"]: row for row in behaviours}
    assert len(by_word) == sum(row.vendor == "nyne" for row in TABLE.values())
    assert (by_word["ny-lost202silent"]["charged"], by_word["ny-lost202silent"]["number_readable"]) == (True, False)
    assert manual[0] == 200


def test_a_taken_port_is_said_so() -> None:
    """Exit code 2 and one plain line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "sandbox", "nyne", "--port", str(port)]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == f"Port {port} on 127.0.0.1 is taken; choose another one with --port.\n"


def test_a_wrong_latency_is_refused() -> None:
    """Neither `page` nor a number is a usage error."""
    result = CliRunner().invoke(cli, ["leadmagic", "--latency", "soon"])

    assert result.exit_code == 2
    assert "--latency" in result.stderr


def test_the_sandbox_is_an_independent_oracle() -> None:
    """It imports nothing of the program that it checks."""
    for file in Path(sandbox.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"enrichment", "receiver", "submitter", "console"}
