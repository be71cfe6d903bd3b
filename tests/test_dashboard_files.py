"""The pages of files: an upload is mapped, counted, sampled, approved and downloaded, without a line of JavaScript."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from receiver.dashboard import uploads
from receiver.dashboard.uploads import plain_name
from store import campaigns
from store.audit import page
from store.campaign_files import PIECE
from submitter.campaigns import CampaignWorker
from tests.asgi import Answer, Client
from tests.at_work import AtWork
from tests.conftest import ClientWith
from tests.pages import flaws
from tests.seat import Seat, seated
from tests.wishes import MOBILE, end

if TYPE_CHECKING:
    from tests.wishes import Pool

BOUNDARY = "----boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
CSV = b"E-Mail;Name;Notes\nada@acme.dev;Ada Byron;=1+1\nbob@acme.dev;Bob Stone;\n;;none\n"


@pytest.fixture
async def seat(client: Client) -> Seat:
    """Provide a browser that is logged in."""
    return await seated(client)


@pytest.fixture
async def worker(world: AtWork) -> AsyncIterator[CampaignWorker]:
    """Provide the reconciler's work on campaigns."""
    working = CampaignWorker(world.process, world.wake, asyncio.Event())
    yield working
    working.close()


def form(content: bytes, name: str = "contacts.csv", field: str = "file") -> bytes:
    """Return the body of a form with a file, as browsers send it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


async def send(seat: Seat, body: bytes, kind: str = MULTIPART) -> Answer:
    """Send the form."""
    return await seat.send("POST", "/files", body, {"content-type": kind})


async def uploaded(seat: Seat, content: bytes = CSV) -> str:
    """Upload a file; return the address of its page."""
    answer = await send(seat, form(content))
    assert answer.status == 303, answer.body
    return answer.headers["location"]


def patient(app: ASGIApp) -> ASGIApp:
    """Let a client stay until it has the whole answer: a file is sent for as long as somebody takes it."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_or_wait() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                await asyncio.Event().wait()
            return message

        await app(scope, receive_or_wait, send)

    return call


async def answer_all(pool: Pool) -> None:
    """Let every open lookup be found at its next provider."""
    for row in await pool.fetch("SELECT lookup_id FROM jobs"):
        await end(pool, row["lookup_id"], mobile=MOBILE)


async def shown(seat: Seat, path: str) -> str:
    """Return a page, which keeps to the policy and to what every reader of pages needs."""
    page = await seat.page(path)
    assert flaws(page) == []
    return page


async def state_of(pool: Pool, path: str) -> str:
    """Return the state of the campaign at this address."""
    found = await campaigns.find(pool, UUID(path.rpartition("/")[2]))
    assert found is not None
    return found.state


async def test_from_the_upload_to_the_download(seat: Seat, worker: CampaignWorker, pool: Pool) -> None:
    """Each page leads to the next by a form; what was found stands beside the file's own columns, and is audited."""
    path = await uploaded(seat)
    assert "looking at the file" in await shown(seat, path)
    await worker.work_on_campaigns()
    assert '<option value="0" selected>E-Mail</option>' in await shown(seat, path)
    assert (await seat.form(f"{path}/columns", {"work_email": "0", "name": "1"})).status == 303
    await worker.work_on_campaigns()
    counted = await shown(seat, path)
    assert "<b>2</b> new" in counted
    assert "<b>1</b> unusable" in counted
    assert "<b>16</b> credits at most" in counted
    await seat.form(f"{path}/sample", {"sample": "1"})
    await worker.work_on_campaigns()
    assert "every 2s" in await seat.page(f"{path}/part")
    await answer_all(pool)
    await worker.work_on_campaigns()
    assert "Match rate" in await shown(seat, path)
    await seat.form(f"{path}/approve", {"most": "13"})
    await worker.work_on_campaigns()
    await answer_all(pool)
    await worker.work_on_campaigns()
    assert "the enriched file" in await shown(seat, path)
    answer = await Seat(patient(seat.app), seat.headers).get(f"{path}/enriched")

    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig")), delimiter=";"))
    assert [(row["Notes"], row["ringback_mobile"], row["ringback_status"]) for row in rows] == [
        ("=1+1", MOBILE, "found"), ("", MOBILE, "found"), ("none", "", "unusable"),
    ]  # fmt: skip
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''contacts.enriched.csv"
    assert sorted(entry["action"] for entry in await page(pool, None, 10)) == ["enrich", "enrich", "export"]


async def test_the_list_leads_to_every_file(seat: Seat) -> None:
    """Without a file it says how to begin; a name that is markup is a name."""
    assert "No file yet" in await seat.page("/files")
    await send(seat, form(CSV, "<b>x</b>.csv"))
    await uploaded(seat)

    listed = await shown(seat, "/files")

    assert "contacts.csv" in listed
    assert "<b>x" not in listed


async def test_a_reader_sees_and_decides_nothing(client_with: ClientWith) -> None:
    """The scope `read` sees the pages; to upload, to decide and to download it takes `operate`."""
    client = await client_with(api_tokens="see:read:token-to-see-with,act:read+operate:token-to-act-with")
    reader, actor = await seated(client, "token-to-see-with"), await seated(client, "token-to-act-with")
    path = await uploaded(actor)

    assert "Upload contacts" not in await reader.page("/files")
    assert "<button" not in (await reader.page(path)).partition("<main")[2]
    assert (await send(reader, form(CSV))).status == 403
    for deed in ("columns", "sample", "approve", "go-on", "stop"):
        assert (await reader.form(f"{path}/{deed}", {})).status == 403
    await reader.page(f"{path}/enriched", 403)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(CSV, field="other"), MULTIPART, 400),
        (form(b""), MULTIPART, 400),
        (b"no form", MULTIPART, 400),
        (CSV, "text/csv", 415),
        (CSV, "multipart/form-data", 415),
    ],
)
async def test_what_is_no_file_is_not_kept(seat: Seat, pool: Pool, body: bytes, kind: str, status: int) -> None:
    """The page says what to do, and nothing is left of the upload."""
    assert (await send(seat, body, kind)).status == status
    assert await pool.fetchval("SELECT count(*) FROM campaigns") == 0


async def test_a_file_that_is_too_large_is_not_kept(seat: Seat, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that came before the limit go as well."""
    monkeypatch.setattr(uploads, "MOST_OF_AN_UPLOAD", 2 * PIECE)

    assert (await send(seat, form(b"x" * (3 * PIECE)))).status == 413
    assert await pool.fetchval("SELECT count(*) FROM campaign_files") == 0


async def test_an_upload_is_kept_in_pieces(seat: Seat, pool: Pool) -> None:
    """The pieces are the file, byte by byte."""
    content = bytes(range(256)) * (PIECE // 100)

    await uploaded(seat, content)

    rows = await pool.fetch("SELECT bytes FROM campaign_files ORDER BY place")
    assert len(rows) == 3
    assert b"".join(row["bytes"] for row in rows) == content


async def test_a_file_that_cannot_be_read_says_why(seat: Seat, worker: CampaignWorker, pool: Pool) -> None:
    """The reason is on the page, without the file's content."""
    path = await uploaded(seat, b"\x00\x01" * 100)

    await worker.work_on_campaigns()

    assert await state_of(pool, path) == "stopped"
    assert "Stopped: " in await seat.page(path)


async def test_a_decision_that_comes_too_late_changes_nothing(seat: Seat, worker: CampaignWorker, pool: Pool) -> None:
    """The page says that the file has moved on; an amount that is none is refused."""
    path = await uploaded(seat)
    await worker.work_on_campaigns()

    assert (await seat.form(f"{path}/approve", {"most": "1"})).headers["location"] == f"{path}?said=file-changed"
    assert (await seat.form(f"{path}/approve", {"most": "much"})).status == 422
    assert (await seat.form(f"{path}/columns", {"company": "1"})).status == 422
    assert (await seat.form(f"/files/{uuid7()}/stop", {})).status == 404
    assert await state_of(pool, path) == "uploaded"
    await seat.page(f"{path}/enriched", 409)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("contacts.csv", "contacts.csv"),
        (r"C:\Users\ada\contacts.csv", "contacts.csv"),
        ("../../etc/passwd", "passwd"),
        ('a"b\r\nc.csv', "abc.csv"),
        ("..", "contacts"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_files_name_is_only_a_name(given: str, name: str) -> None:
    """No folder, no line break and no quotation mark of a browser's gets into a header or a page."""
    assert plain_name(given) == name
