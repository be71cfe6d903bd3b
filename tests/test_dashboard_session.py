"""Who may look: a token begins a session, a signed cookie carries it, and no other site can use it."""

from __future__ import annotations

import time
from http.cookies import SimpleCookie

import pytest
from pydantic import SecretStr
from starlette.responses import Response

from enrichment.setting_types import ApiToken
from receiver.auth import Tokens, digest
from receiver.dashboard.assets import address_of
from receiver.dashboard.forms import MOST_OF_A_FORM
from receiver.dashboard.session import LASTS, PLAIN, SECURE, Sessions, end
from tests.asgi import Answer, Client
from tests.conftest import TOKEN, ClientWith
from tests.seat import ELSEWHERE, FORM, OURS, Seat, seated

AGO = -10  # seconds


def cookie_of(token: str = TOKEN, *, key: str | None = None, lasts: float = LASTS) -> str:
    """The cookie of a session of *token* that ends in *lasts* seconds, as a receiver with this key signs it."""
    sessions = Sessions(Tokens([ApiToken(token)]), SecretStr(key) if key else None)
    until = int(time.time() + lasts)
    return f"{until}.{sessions._signature(digest(token.encode()), until)}"


def cookies_set_by(answer: Answer) -> SimpleCookie:
    """What the answer sets."""
    return SimpleCookie(answer.headers.get("set-cookie", ""))


async def is_admitted(client: Client, cookie: str, name: str = PLAIN) -> bool:
    """Whether a browser with this cookie has a session: the login sends it on, and the guard says the same."""
    browser = Client(client.app, {"cookie": f"{name}={cookie}"})
    passes_the_login = (await browser.get("/login")).status == 303
    decision = await browser.send("POST", "/pause", b"", ELSEWHERE)  # 403: admitted, and then refused for its origin
    assert decision.status == (403 if passes_the_login else 303)
    return passes_the_login


async def test_a_page_leads_through_the_login_and_back(offline: Client) -> None:
    """Who has no session logs in first, and then comes to the page that was asked for."""
    stranger = Seat(offline.app, OURS)

    asked = await stranger.get("/start?a=b")
    shown = await stranger.page(asked.headers["location"])
    entered = await stranger.form("/login", {"token": f" {TOKEN}\n", "next": "/start?a=b"})

    assert asked.headers["location"] == "/login?next=%2Fstart%3Fa%3Db"
    assert 'value="/start?a=b"' in shown
    assert (entered.status, entered.headers["location"]) == (303, "/start?a=b")


async def test_a_wrong_token_begins_nothing(offline: Client) -> None:
    """The page says what a token is; it does not repeat what was typed, and sets no cookie."""
    answer = await Seat(offline.app, OURS).form("/login", {"token": "guessed-token", "next": "/start"})

    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert "www-authenticate" not in answer.headers  # a browser would ask with a window of its own
    assert b"None of API_TOKENS" in answer.body
    assert b"guessed-token" not in answer.body
    assert b'value="/start"' in answer.body


async def test_guesses_count_against_their_address(client_with: ClientWith) -> None:
    """Beyond the limit the answer is a 429 page that says when to come back; the right token still enters."""
    client = await client_with(address_requests_per_minute=2)
    seat = Seat(client.app, OURS)

    answers = [await seat.form("/login", {"token": f"guess-{number}"}) for number in range(3)]

    assert [answer.status for answer in answers] == [401, 401, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].headers["content-type"].startswith("text/html")
    assert (await seat.form("/login", {"token": TOKEN})).status == 303


async def test_pages_count_against_their_token(client_with: ClientWith) -> None:
    """A session has the limit of the token that began it."""
    client = await client_with(token_requests_per_minute=1)
    seat = await seated(client)

    assert [(await seat.get("/start")).status for _ in range(2)] == [200, 429]


async def test_a_token_sees_what_its_scopes_allow(client_with: ClientWith) -> None:
    """Any token may log in; a page or a form that needs another scope says which."""
    client = await client_with(api_tokens=f"crm:events:{TOKEN},reader:read:second-token")
    of_events, of_reader = await seated(client), await seated(client, "second-token")

    refused = await of_events.page("/", 403)
    acted = await of_reader.form("/pause", {"reason": "x"})

    assert "<code>read</code>" in refused
    assert (await of_reader.get("/")).status == 200
    assert acted.status == 403
    assert b"<code>operate</code>" in acted.body


@pytest.mark.parametrize(
    ("origin", "name", "secure"),
    [("https://ringback.test", SECURE, True), ("http://127.0.0.1:8000", PLAIN, False), (None, PLAIN, False)],
)
async def test_the_cookie_is_as_strict_as_the_way_allows(
    offline: Client, origin: str | None, name: str, secure: bool
) -> None:
    """Over https its name and flags bind it to this host; no script reads it, and it ends with the session."""
    answer = await Seat(offline.app, OURS).form("/login", {"token": TOKEN}, {"origin": origin} if origin else {})

    (morsel,) = cookies_set_by(answer).values()
    assert morsel.key == name
    assert bool(morsel["secure"]) is secure
    assert morsel["httponly"]
    assert morsel["samesite"] == "lax"
    assert morsel["path"] == "/"
    assert morsel["domain"] == ""
    assert morsel["max-age"] == str(LASTS)
    assert TOKEN not in morsel.value


@pytest.mark.parametrize("name", [SECURE, PLAIN])
async def test_a_session_of_ours_is_one(offline: Client, name: str) -> None:
    """The cookie that a receiver signed admits, at any receiver with the same token and key."""
    assert await is_admitted(offline, cookie_of(), name)


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param(cookie_of(lasts=AGO), id="expired"),
        pytest.param(cookie_of("removed-token"), id="of a token that is gone"),
        pytest.param(cookie_of(key="another"), id="of another SESSION_KEY"),
        pytest.param(f"{int(time.time()) + 10 * LASTS}.{cookie_of().partition('.')[2]}", id="prolonged"),
        pytest.param(cookie_of()[:-1] + "x", id="tampered"),
        pytest.param(cookie_of().partition(".")[0], id="unsigned"),
        pytest.param("." + cookie_of().partition(".")[2], id="without an end"),
        pytest.param(f"{'9' * 5000}.00", id="with an endless end"),
        pytest.param("²³.00", id="no digits"),
        pytest.param("Ünreadable\xff", id="no ASCII"),
        pytest.param("", id="empty"),
    ],
)
async def test_no_other_cookie_is_one(offline: Client, cookie: str) -> None:
    """It leads to the login, like none."""
    assert not await is_admitted(offline, cookie)


async def test_another_session_key_ends_all_sessions(client_with: ClientWith) -> None:
    """With SESSION_KEY, only what was signed with it is a session."""
    client = await client_with(session_key="key-of-sessions")

    assert not await is_admitted(client, cookie_of())
    assert await is_admitted(client, cookie_of(key="key-of-sessions"))


async def test_two_tokens_of_one_name_are_two(client_with: ClientWith) -> None:
    """While a token is rotated, the sessions of the old one last until it is removed, and no longer."""
    both = await client_with(api_tokens="ann:read:old-token,ann:read+operate:new-token")
    after = await client_with(api_tokens="ann:read+operate:new-token")
    old, new = await seated(both, "old-token"), await seated(both, "new-token")

    assert b"Stop all paid questions" not in (await old.get("/")).body  # it may only read
    assert b"Stop all paid questions" in (await new.get("/")).body
    assert (await Client(after.app, old.headers).get("/")).headers["location"] == "/login"
    assert (await Client(after.app, new.headers).get("/")).status == 200


async def test_the_token_itself_is_no_session(offline: Client) -> None:
    """The API's header does not admit to a page: a page is for who logged in."""
    answer = await offline.get("/")

    assert (answer.status, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    "address",
    ["//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test", "https://evil.test", "https:evil.test",
     "javascript:alert(1)", "/\t/evil.test", "/\r\nSet-Cookie: x=y", "/\x00", "/ü", "evil.test", "//[", ""],
)  # fmt: skip
async def test_no_link_leads_through_the_login_elsewhere(offline: Client, address: str) -> None:
    """Whatever a link says under `next`, the login leads to a page of ours."""
    seat = await seated(offline)
    query = Seat(offline.app, seat.headers)

    entered = await Seat(offline.app, OURS).form("/login", {"token": TOKEN, "next": address})
    passed = await query.get(f"/login?next={''.join(f'%{byte:02X}' for byte in address.encode())}")

    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert (passed.status, passed.headers["location"]) == (303, "/")


async def test_logging_out_removes_the_cookies(offline: Client) -> None:
    """Both, however the browser came; then it has no session."""
    answer = await (await seated(offline)).form("/logout", {})
    bare = Response()
    end(bare)

    assert answer.headers["location"] == "/login?said=ended"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    removed = {
        name: one["max-age"] for each in bare.headers.getlist("set-cookie") for name, one in SimpleCookie(each).items()
    }
    assert removed == {SECURE: "0", PLAIN: "0"}


@pytest.mark.parametrize(
    "headers",
    [
        ELSEWHERE,
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.test", "host": "ringback.test"},
        {"origin": "null", "host": "ringback.test"},
        {"origin": "https://", "host": ""},
        {},
    ],
    ids=str,
)
async def test_a_form_from_elsewhere_is_refused(offline: Client, headers: dict[str, str]) -> None:
    """No other site can log in, log out or decide, nor what does not say where it comes from."""
    seat = await seated(offline)
    stranger = Seat(offline.app, {"cookie": seat.headers["cookie"]})
    form = {"token": TOKEN, "reason": "x", "work_email": "jane@acme.co"}

    for path in ("/login", "/logout", "/pause", "/start"):
        answer = await stranger.form(path, form, headers)

        assert answer.status == 403, path
        assert "set-cookie" not in answer.headers
        assert b"did not come from a page of this address" in answer.body


async def test_an_old_browser_says_by_its_origin_that_a_form_is_ours(offline: Client) -> None:
    """Without Sec-Fetch-Site, which plain HTTP never has, the Origin is compared with the host."""
    answer = await Seat(offline.app).form(
        "/login", {"token": TOKEN}, {"origin": "http://ringback.test:8000", "host": "ringback.test:8000"}
    )

    assert answer.status == 303


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"token=" + b"x" * MOST_OF_A_FORM, FORM, 413),
        (b"&".join(b"a=%d" % number for number in range(60)), FORM, 400),
        (b"token=%ff", FORM, 400),
        ("token=ü".encode(), FORM, 400),
        (b'{"token": "x"}', "application/json", 415),
        (b"token=x", "text/plain", 415),
    ],
)
async def test_a_form_has_limits(offline: Client, body: bytes, content_type: str, status: int) -> None:
    """Too large, too many fields, unreadable, or no form: a page says so."""
    answer = await Client(offline.app, OURS).send("POST", "/login", body, {"content-type": content_type})

    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_every_page_forbids_what_it_does_not_need(client: Client) -> None:
    """Scripts and styles come from this address alone, no other site may frame a page, and nothing is kept."""
    seat = await seated(client)
    pages = [await Client(client.app).get("/login"), await seat.get("/"), await seat.get("/start")]

    for answer in pages:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert b" style=" not in answer.body
        assert b"<style" not in answer.body
        assert b" onclick" not in answer.body


async def test_a_monitor_may_ask_with_head(client: Client) -> None:
    """HEAD is answered like GET, and is no form."""
    seat = Seat(client.app, {"cookie": (await seated(client)).headers["cookie"]})

    statuses = [(await seat.send("HEAD", path, b"")).status for path in ("/", "/start", "/live")]

    assert statuses == [200, 200, 200]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/logout", 405), ("/static/no.js", 404)])
async def test_a_browser_at_a_wrong_address_gets_a_page(offline: Client, path: str, status: int) -> None:
    """What a person typed is answered by a page with a way on; a program gets a problem as before."""
    browser, program = Client(offline.app, {"accept": "text/html,*/*;q=0.8"}), Client(offline.app)

    shown, told = await browser.get(path), await program.get(path)

    assert (shown.status, told.status) == (status, status)
    assert shown.headers["content-type"].startswith("text/html")
    assert shown.headers.get("allow") == told.headers.get("allow")
    assert b'<a href="/">' in shown.body
    assert told.headers["content-type"] == "application/problem+json"
    assert (await browser.get("/callbacks/nyne/x")).body == b""


async def test_files_are_kept_by_the_hash_of_their_content(offline: Client) -> None:
    """An address with the hash never changes; without it, or with an older one, it is asked for again."""
    stranger = Client(offline.app)
    known = await stranger.get(address_of("ringback.css"))
    bare, older = [await stranger.get(f"/static/ringback.css{query}") for query in ("", "?0123456789ab")]

    assert known.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert known.headers["content-type"].startswith("text/css")
    assert bare.headers["cache-control"] == older.headers["cache-control"] == "no-cache"
    assert known.body == bare.body == older.body


@pytest.mark.parametrize(
    "path", ["/static/", "/static/no.js", "/static/../session.py", "/static/..%2Fsession.py", "/static/.", "/static"]
)
async def test_no_other_file_is_served(offline: Client, path: str) -> None:
    """Only what the folder held at the start, by its name alone."""
    assert (await Client(offline.app).get(path)).status == 404
