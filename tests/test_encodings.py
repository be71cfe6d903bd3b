"""How a body is written: codings, charsets, marks and types, each read, or refused with a word that says why."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from receiver.encodings import json_text, readable_text
from receiver.problems import Problem
from tests.asgi import Client
from tests.called_back import found, path_for, verdicts
from tests.factories import job
from tests.receiving import lookups, wrong_paths
from tests.test_auth import SECRET, sign_bytes

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

JSON = "application/json"
MOST = 64 * 1024  # bytes, where a test sends more
TEXT = '{"name": "José Ångström 李", "work_email": "jose@acme.co"}'
LATIN = '{"name": "José Ångström", "work_email": "jose@acme.co"}'
gzipped = partial(gzip.compress, mtime=0)  # without the time of day: a test has one name in every process
BOM = codecs.BOM_UTF8


def read(body: bytes, *content_types: str, coding: str | tuple[str, ...] = ()) -> bytes:
    """The JSON in *body*, sent with these headers."""
    codings = (coding,) if isinstance(coding, str) else coding
    raw = [(b"content-type", kind.encode("latin-1")) for kind in content_types]
    raw += [(b"content-encoding", name.encode("latin-1")) for name in codings]
    return json_text(Headers(raw=raw), body, MOST)


def refused(body: bytes, *content_types: str, coding: str | tuple[str, ...] = ()) -> Problem:
    """The problem that it is."""
    with pytest.raises(Problem) as problem:
        read(body, *content_types, coding=coding)
    return problem.value


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode(), JSON),
        (BOM + TEXT.encode(), JSON),
        (BOM * 2 + TEXT.encode(), JSON),
        (BOM * 3 + TEXT.encode(), f"{JSON}; charset=utf-8"),
        ("\ufeff".encode().decode("latin-1").encode() + TEXT.encode(), JSON),  # a mark that was taken for Latin-1
        (TEXT.encode("utf-16"), JSON),
        (TEXT.encode("utf-16"), f"{JSON}; charset=utf-16"),
        (TEXT.encode("utf-16"), f"{JSON}; charset=utf-8"),  # the mark wins
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), JSON),
        (codecs.BOM_UTF16_LE * 2 + TEXT.encode("utf-16-le"), JSON),
        (TEXT.encode("utf-16-le"), f"{JSON}; charset=utf-16le"),
        (TEXT.encode("utf-16-be"), f"{JSON}; charset=UTF-16BE"),
        (TEXT.encode("utf-16-be"), f"{JSON}; charset=utf-16"),
        (TEXT.encode("utf-16-le"), f"{JSON}; charset=utf-16"),
        (TEXT.encode("utf-16-le"), JSON),  # neither mark nor charset: the NULs tell
        (TEXT.encode(), f"{JSON}; charset=utf-16"),  # a proxy transcoded it and left the header
        (TEXT.encode("utf-32"), JSON),
        (TEXT.encode("utf-32-be"), f"{JSON}; charset=utf-32"),
        (TEXT.encode(), f"{JSON}; charset=iso-8859-1"),  # what says Latin-1 and is UTF-8
    ],
)
def test_every_unicode_is_read(body: bytes, content_type: str) -> None:
    """UTF-8, UTF-16 and UTF-32 are read by mark, charset, or their NULs.

    https://github.com/TracecatHQ/tracecat/issues/1289, https://github.com/n8n-io/n8n/issues/35933
    """
    assert read(body, content_type) == TEXT.encode()


@pytest.mark.parametrize("name", ["iso-8859-1", "ISO_8859-1", "latin1", "windows-1252", "cp1252"])
def test_latin_1_is_read_where_it_is_said(name: str) -> None:
    """Java clients send Latin-1 by default, and say so."""
    assert read(LATIN.encode("cp1252"), f"{JSON}; charset={name}") == LATIN.encode()


@pytest.mark.parametrize("name", ["shift_jis", "gb18030", "utf-7", "iso-8859-15", "x" * 30])
def test_another_charset_is_a_415_that_names_it(name: str) -> None:
    """A body that cannot be decoded is refused, and not guessed at."""
    problem = refused(b"{}", f"{JSON}; charset={name}")

    assert problem.status == 415
    assert name in problem.detail
    assert "UTF-8" in problem.detail


@pytest.mark.parametrize("name", ["<script>", "x" * 5000, "\xff", "a\0b"])
def test_a_charset_that_is_none_is_not_repeated(name: str) -> None:
    """Only what looks like a name is named."""
    problem = refused(b"{}", f"{JSON}; charset={name}")

    assert problem.status == 415
    assert name not in problem.detail


def test_two_charsets_are_a_415() -> None:
    """Which of the two is right is unclear."""
    assert refused(b"{}", f"{JSON}; charset=utf-8, {JSON}; charset=utf-16").status == 415


@pytest.mark.parametrize(
    "content_types",
    [
        (JSON,),
        ("APPLICATION/JSON",),
        (f"{JSON}, {JSON}",),
        (JSON, JSON),
        (f"{JSON}; charset=utf-8, {JSON}",),
        (f"{JSON};charset=UTF-8",),
        (f'{JSON}; charset="utf-8"',),
        (f"{JSON}; charset=utf8;",),
        (f"{JSON}; charset=",),
        (f"{JSON} charset=utf-8",),
        (f"  {JSON}  ",),
        (f"{JSON},",),
        ("application/vnd.crm.v2+json; charset=utf-8",),
        ("Application/Problem+JSON",),
        ("application/cloudevents+json; charset=UTF-8",),
        ("text/json",),
        ("application/x-json",),
        (f'{JSON}; charset=utf-8; profile="https://x,y"',),
        (f'{JSON}; profile="x; charset=utf-16"; charset="utf-8"',),
        (f'{JSON}; profile="say \\"x, y\\""',),
        (f'{JSON}; profile="a,b", {JSON}; profile="c;d"',),
    ],
)
def test_every_way_to_say_json_is_understood(content_types: tuple[str, ...]) -> None:
    """Proxies join headers, or repeat them; senders differ in case, quotes and suffixes.

    https://github.com/mitodl/open-discussions/issues/2716, https://github.com/octokit/webhooks.js/issues/158
    """
    assert read(b"{}", *content_types) == b"{}"


@pytest.mark.parametrize(
    "content_types",
    [
        (),
        ("",),
        (",",),
        ("text/plain",),
        ("text/plain; charset=application/json",),
        ("application/x-www-form-urlencoded",),
        ("multipart/form-data; boundary=json",),
        ("application/jsonp",),
        ("application/x-ndjson",),
        ("json",),
        (f"{JSON}, text/plain",),
        (JSON, "text/plain"),
        ("text/plain", JSON),
    ],
)
def test_what_is_not_said_to_be_json_is_a_415(content_types: tuple[str, ...]) -> None:
    """Another type, none, or two that differ."""
    problem = refused(b"{}", *content_types)

    assert problem.status == 415
    assert "Content-Type: application/json" in problem.detail


def deflated(body: bytes) -> bytes:
    """Compress as `Content-Encoding: deflate` means."""
    return zlib.compress(body)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzipped(b"{}"), "gzip"),
        (gzipped(b"{}"), "GZIP"),
        (gzipped(b"{}"), "x-gzip"),
        (gzipped(b"{}"), "identity, gzip"),
        (gzipped(b"{}"), ("gzip", "identity")),
        (gzipped(gzipped(b"{}")), "gzip, gzip"),
        (gzipped(gzipped(b"{}")), ("gzip", "gzip")),
        (gzipped(b"{") + gzipped(b"}"), "gzip"),
        (gzipped(b"{}") + b"\0" * 512, "gzip"),
        (gzipped(BOM + b"{}"), "gzip"),
        (gzipped("{}".encode("utf-16")), "gzip"),
        (b"{}", "identity"),
        (b"{}", ""),
    ],
)
def test_gzip_is_decompressed(body: bytes, coding: str | tuple[str, ...]) -> None:
    """Once or twice, in one part or several.  https://github.com/OpenFn/lightning/issues/3937"""
    assert read(body, JSON, coding=coding) == b"{}"


@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "aes128gcm"])
def test_another_coding_is_a_415_that_names_the_header(coding: str) -> None:
    """The answer says which header is meant, and what may be sent.  https://github.com/HarperFast/harper/issues/1438"""
    problem = refused(deflated(b"{}"), JSON, coding=coding)

    assert problem.status == 415
    assert "Content-Encoding" in problem.detail
    assert problem.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzipped(b"{}")[:-1],
        gzipped(b"{}")[:12],
        gzipped(b"{}") + b"garbage",
        gzipped(b"{}")[:-8] + b"\0" * 8,  # another checksum
        gzipped(b"") * 1000,
        deflated(b"{}"),
    ],
)
def test_what_is_not_gzip_or_not_all_of_it_is_a_400(body: bytes) -> None:
    """A body that breaks off, or that something on the way decompressed already."""
    problem = refused(body, JSON, coding="gzip")

    assert problem.status == 400
    assert "gzip" in problem.detail


def test_gzip_without_a_word_is_a_400_that_says_so() -> None:
    """A sender that compresses and forgets the header hears of the header."""
    assert "Content-Encoding" in refused(gzipped(b"{}"), JSON).detail


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzipped(b" " * (MOST + 1)), "gzip"),
        (gzipped(b" " * 50_000_000), "gzip"),
        (gzipped(gzipped(b" " * 50_000_000)), "gzip, gzip"),
        (gzipped(b" " * MOST) + gzipped(b" "), "gzip"),
    ],
)
def test_a_bomb_is_a_413(body: bytes, coding: str) -> None:
    """The limit holds while decompressing, through any number of layers."""
    assert refused(body, JSON, coding=coding).status == 413


def test_a_body_of_just_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    body = b"{}".ljust(MOST)

    assert read(gzipped(body), JSON, coding="gzip") == body


async def test_json_in_a_string_is_a_422_that_says_so(offline: Client) -> None:
    """An event that was encoded twice.  https://github.com/n8n-io/n8n/issues/19442"""
    answer = await offline.post("/events/generic", json.dumps(TEXT).encode())

    assert wrong_paths(answer) == [""]
    assert "encoded twice" in answer.json()["detail"]


async def test_what_was_encoded_is_stored_decoded(client: Client, pool: Pool) -> None:
    """The stored event is its JSON, however it was encoded; the person is the same."""
    body = gzipped(TEXT.encode("utf-16"))

    made = await client.post("/events/generic", body, {"content-encoding": "gzip"})

    assert len(lookups(made)) == 1
    assert await pool.fetchval("SELECT name FROM lookups") == "José Ångström 李"


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_signature_is_of_the_body_as_the_sender_knows_it(client_with: ClientWith, wrapped: bool) -> None:
    """A client signs before it compresses, or afterwards: both are genuine."""
    app = (await client_with(events_signing_secret=SECRET)).app
    body = b'{"work_email": "jane@acme.co"}'
    packed = gzipped(body)
    headers = sign_bytes(packed if wrapped else body) | {"content-encoding": "gzip"}

    assert (await Client(app).post("/events/generic", packed, headers)).status == 202


@pytest.mark.parametrize(
    ("encode", "headers"),
    [
        (lambda text: BOM + text.encode(), {}),
        (lambda text: gzipped(text.encode()), {"content-encoding": "gzip"}),
        (lambda text: text.encode("utf-16"), {"content-type": "text/plain"}),
        (lambda text: text.encode("utf-16-be"), {"content-type": "application/json; charset=utf-16be"}),
        (lambda text: text.encode(), {"content-type": "application/json; charset=klingon"}),
        (lambda text: text.encode(), {"content-encoding": "br"}),  # it is not: something on the way decoded it
        (lambda text: text.encode(), {"content-encoding": "gzip"}),
    ],
)
async def test_a_callback_is_read_however_it_is_written(
    client: Client, pool: Pool, encode: Callable[[str], bytes], headers: dict[str, str]
) -> None:
    """A paid answer is not refused for its form.  https://github.com/n8n-io/n8n/issues/35933"""
    row = await job(pool, "awaiting")
    body = encode(json.dumps(found(row["request_id"])))

    assert (await client.post(path_for(row["id"]), body, headers)).status == 200
    assert await verdicts(pool) == ["applied"]


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\xff", gzipped(b" " * 1_000_000), b"[" * 10_000, b'"{}"'])
async def test_a_callback_that_cannot_be_read_is_stored_as_it_came(client: Client, pool: Pool, body: bytes) -> None:
    """It gets its 200, is kept, and changes nothing."""
    row = await job(pool, "awaiting")

    answer = await client.post(path_for(row["id"]), body, {"content-encoding": "gzip"})

    assert answer.status == 200
    assert await pool.fetchval("SELECT body FROM callbacks") == body
    assert await pool.fetchval("SELECT state::text FROM jobs") == "awaiting"


codings = st.sampled_from(["gzip", "identity", "gzip, gzip", "deflate", "\xff"])
kinds = st.one_of(st.just(JSON), st.text(st.characters(max_codepoint=255)), st.sampled_from(["utf-16", "latin1"]))


@given(st.binary(), kinds, st.one_of(st.just(()), codings))
def test_no_bytes_break_the_decoding(body: bytes, charset: str, coding: str | tuple[str, ...]) -> None:
    """Any bytes with any headers are read or refused: a stranger's bytes are never a defect of ours."""
    for sent in (body, gzipped(body)):
        readable_text(Headers(raw=[(b"content-encoding", b"gzip")]), sent, MOST)
        with suppress(Problem):
            assert not read(sent, f"{JSON}; charset={charset}", coding=coding).startswith(BOM)
