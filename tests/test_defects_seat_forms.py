"""What a form or a file brings, however odd it is, is a page that says what to do; and no upload waits for ever."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from submitter.campaigns import CampaignWorker
from tests.conftest import TOKEN, ClientWith
from tests.seat import Seat, seated
from tests.test_dashboard_files import BOUNDARY, CSV, form, patient, send, state_of, uploaded

if TYPE_CHECKING:
    from tests.at_work import AtWork
    from tests.wishes import Pool

CLOSING = f"\r\n--{BOUNDARY}--\r\n".encode()
FAR = "000000001" + "9" * 30  # its first nine digits are a 1


@pytest.fixture
async def seat(client_with: ClientWith) -> Seat:
    """Provide a browser whose session may do everything."""
    return await seated(await client_with(api_tokens=f"ann:read+operate+admin:{TOKEN}"))


@pytest.fixture
async def worker(world: AtWork) -> AsyncIterator[CampaignWorker]:
    """Provide the reconciler's work on campaigns."""
    working = CampaignWorker(world.process, world.wake, asyncio.Event())
    yield working
    working.close()


async def test_a_sample_of_any_digits_is_a_number_or_none(seat: Seat, worker: CampaignWorker, pool: Pool) -> None:
    """A number beyond what PostgreSQL counts with is refused on a page that names the field."""
    path = await uploaded(seat)
    await worker.work_on_campaigns()
    await seat.form(f"{path}/columns", {"work_email": "0"})
    await worker.work_on_campaigns()

    answers = [await seat.form(f"{path}/sample", {"sample": given}) for given in (FAR, "0", "-1", "100001")]

    assert [answer.status for answer in answers] == [422] * 4
    assert await state_of(pool, path) == "read"
    assert (await seat.form(f"{path}/sample", {"sample": "002"})).status == 303
    assert await state_of(pool, path) == "sampling"


@pytest.mark.parametrize("content", [b"E-Mail;Na\0me\nada@acme.dev;Ada\n", b"\0;E-Mail\nx;ada@acme.dev\n"])
async def test_a_column_may_have_any_name(seat: Seat, worker: CampaignWorker, pool: Pool, content: bytes) -> None:
    """A NUL in it is passed over: PostgreSQL keeps none, and the upload would be looked at for ever."""
    path = await uploaded(seat, content)

    await worker.work_on_campaigns()

    assert "What do the columns hold?" in await seat.page(path)


@pytest.mark.parametrize("missing", [len(CLOSING), len(CLOSING) + 20, 6])
async def test_a_form_that_ends_in_the_middle_is_not_kept(seat: Seat, pool: Pool, missing: int) -> None:
    """A file whose end did not come is not taken for the whole: its last rows would never be asked about."""
    answer = await send(seat, form(CSV)[:-missing])

    assert answer.status == 400
    assert "in the middle of the file" in answer.body.decode()
    assert await pool.fetchval("SELECT count(*) FROM campaigns") == 0
    assert (await send(seat, form(CSV)[:-2])).status == 303  # the line's end after it is nobody's


@pytest.mark.parametrize("ends", ["erased", "stopped", "read"])
async def test_no_copy_of_an_upload_is_left_behind(
    seat: Seat, worker: CampaignWorker, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The reconciler's temporary file goes when the upload does, and when there is nothing to do with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = await uploaded(seat)
    await worker.work_on_campaigns()
    await seat.form(f"{path}/columns", {"work_email": "0"})
    await worker.work_on_campaigns()
    if ends != "read":
        await seat.form(f"{path}/approve", {"most": "100"})
        await worker.work_on_campaigns()
        assert list(tmp_path.rglob("upload"))  # the answers are waited for
        gone = {"email": "ada@acme.dev"}
        await (seat.form("/suppressions/erase", gone) if ends == "erased" else seat.form(f"{path}/stop", {}))

    await worker.work_on_campaigns()

    assert not list(tmp_path.rglob("upload"))


@pytest.mark.parametrize(
    ("given", "credits"),
    [("100,50", None), ("1.200,50", None), ("1,2", None), ("1e3", None), ("1_000", None), ("-1", None), ("", None),
     ("NaN", None), ("9" * 15, None), ("1200", 1200), ("1,200", 1200), ("1,234,567.5", 1234567.5), (" 7.25 ", 7.25)],
)  # fmt: skip
async def test_credits_are_what_was_typed(
    seat: Seat, worker: CampaignWorker, pool: Pool, given: str, credits: float | None
) -> None:
    """A comma groups thousands, as our pages write them; where it may be a decimal point, nothing is approved."""
    path = await uploaded(seat)
    await worker.work_on_campaigns()
    await seat.form(f"{path}/columns", {"work_email": "0"})
    await worker.work_on_campaigns()

    answer = await seat.form(f"{path}/approve", {"most": given})

    assert answer.status == (422 if credits is None else 303)
    assert await pool.fetchval("SELECT approved_credits FROM campaigns") == credits


async def test_a_page_that_follows_a_file_goes_on_after_an_error(seat: Seat) -> None:
    """The page of an error must not take the place of the part that asks again: it would ask no more."""
    page = await seat.page(await uploaded(seat))

    (polling,) = [tag for tag in page.split("<")[1:] if "every 2s" in tag]
    assert 'data-hx-status:4xx="swap:none"' in polling
    assert 'data-hx-status:5xx="swap:none"' in polling


async def test_downloads_go_on_when_there_is_a_temporary_folder_again(
    seat: Seat, worker: CampaignWorker, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each download without one says so, and takes no place from those that come after it."""
    path = await uploaded(seat)
    await worker.work_on_campaigns()
    await seat.form(f"{path}/columns", {"work_email": "0"})
    await worker.work_on_campaigns()
    await seat.form(f"{path}/approve", {"most": "100"})
    await worker.work_on_campaigns()

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        pages = [await seat.page(f"{path}/enriched", 503) for _ in range(3)]

    assert ["no temporary folder" in page for page in pages] == [True] * 3
    answer = await Seat(patient(seat.app), seat.headers).get(f"{path}/enriched")
    assert answer.status == 200
