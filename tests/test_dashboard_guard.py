"""Every page and form of the dashboard, from the table of routes: who may see it, from where, and how it is made."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from enrichment.setting_types import SCOPES
from receiver.dashboard.navigation import PAGES
from receiver.dashboard.routes import PageRoute
from tests.asgi import Client
from tests.conftest import TOKEN, ClientWith
from tests.pages import POLICY, flaws
from tests.seat import FORM, OURS, Seat, seated

ID = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"
OPEN = {"/static/{name}", "/login", "/logout"}  # to those without a session
STREAM = "/live"  # never ends by itself
ALL = f"ann:{'+'.join(sorted(SCOPES))}:{TOKEN}"
ELSEWHERE: tuple[dict[str, str], ...] = (
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.test", "host": "ringback.test"},
    {"origin": "null", "host": "ringback.test"},
    {"host": "ringback.test"},
)


def addresses(client: Client, method: str) -> list[str]:
    """Every address of the dashboard that takes *method*, with an id in place of parameters."""
    app: Any = client.app
    routes = [route for route in app.routes if isinstance(route, PageRoute) and method in (route.methods or ())]
    return [re.sub(r"{\w+(:\w+)?}", ID, route.path) for route in routes if route.path not in OPEN]


async def test_there_are_pages_and_forms(client: Client) -> None:
    """The table is not empty, or the tests below would say nothing; the navigation leads to pages alone."""
    assert {page.path for page in PAGES} <= set(addresses(client, "GET"))
    assert {"/pause", "/suppressions", "/suppressions/erase", f"/deliveries/{ID}/replay"} <= set(
        addresses(client, "POST")
    )


async def test_a_page_without_a_session_leads_to_the_login_and_back(client: Client) -> None:
    """303, with the page that was wanted; a form leads there too, and what it would have done is not done."""
    stranger = Seat(client.app, OURS)
    paths = [path for path in addresses(client, "GET") if path != STREAM]  # its own tests say how it takes its leave

    pages = {path: await stranger.get(f"{path}?a=b") for path in paths}
    forms = {path: await stranger.form(path, {}) for path in addresses(client, "POST")}

    assert {path: (one.status, one.headers["location"]) for path, one in pages.items()} == {
        path: (303, f"/login?next={quote(f'{path}?a=b', safe='')}") for path in paths
    }
    assert {(one.status, one.headers["location"]) for one in forms.values()} == {(303, "/login")}


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
async def test_a_form_from_elsewhere_does_nothing(client_with: ClientWith, headers: dict[str, str]) -> None:
    """403 and a page, although the browser sent the session's cookie with it; the same for the login and the logout."""
    client = await client_with(api_tokens=ALL)
    seat = await seated(client)
    elsewhere = Seat(client.app, {"cookie": seat.headers["cookie"]} | headers)

    answers = {
        path: await elsewhere.form(path, {"token": TOKEN}) for path in [*addresses(client, "POST"), "/login", "/logout"]
    }

    assert {path: one.status for path, one in answers.items()} == dict.fromkeys(answers, 403)
    for one in answers.values():
        assert "did not come from a page of this address" in one.body.decode()
        assert "set-cookie" not in one.headers


async def test_each_address_needs_one_scope(client_with: ClientWith) -> None:
    """A token with all scopes but that one gets a 403 page that names it; every other one gets past the check."""
    tokens = [f"no-{missing}:{'+'.join(sorted(SCOPES - {missing}))}:without-{missing}" for missing in sorted(SCOPES)]
    client = await client_with(api_tokens=",".join(tokens))
    seats = {missing: await seated(client, f"without-{missing}") for missing in sorted(SCOPES)}

    needed: dict[str, list[str]] = {}
    for missing, seat in seats.items():
        for method in ("GET", "POST"):
            for path in addresses(client, method):
                if path == STREAM and missing != "read":
                    continue
                answer = await seat.send(method, path, b"", {"content-type": FORM})
                assert answer.status != 500, (method, path)
                if answer.status == 403:
                    needed.setdefault(f"{method} {path}", []).append(missing)
                    assert f"<code>{missing}</code>" in answer.body.decode()
                    assert flaws(answer.body.decode()) == []

    assert {address: len(scopes) for address, scopes in needed.items()} == {
        f"{method} {path}": 1 for method in ("GET", "POST") for path in addresses(client, method)
    }
    assert {needed[f"GET {page.path}"][0] for page in PAGES if page.scope == "admin"} == {"admin"}
    assert needed["POST /suppressions/erase"] == needed["POST /suppressions/find"] == needed["GET /audit"] == ["admin"]
    assert needed["POST /suppressions"] == needed[f"POST /deliveries/{ID}/replay"] == ["operate"]


async def test_every_page_keeps_to_the_policy(client_with: ClientWith) -> None:
    """The header is exactly this one, and nothing in the page needs more; one heading, a title, a language."""
    seat = await seated(await client_with(api_tokens=ALL))

    for path in [page.path for page in PAGES] + ["/login?next=/", f"/deliveries?status={ID}"]:
        answer = await seat.get(path, {"cookie": ""} if path.startswith("/login") else None)

        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["cache-control"] == "no-store", path
        assert flaws(answer.body.decode()) == [], path


async def test_the_navigation_names_what_the_visitor_may_see(client_with: ClientWith) -> None:
    """In its order, with the current page marked; a page that needs another scope is not named."""
    client = await client_with(api_tokens=f"{ALL},eyes:read:of-eyes")
    paths = [page.path for page in PAGES]
    named = re.compile(r'<li><a href="([^"]+)"( aria-current="page")?>')

    everything = named.findall(await (await seated(client)).page("/ledger"))
    reading = named.findall(await (await seated(client, "of-eyes")).page("/ledger"))

    assert [path for path, _ in everything] == paths
    assert [path for path, current in everything if current] == ["/ledger"]
    assert [path for path, _ in reading] == [page.path for page in PAGES if page.scope == "read"]


@pytest.mark.parametrize("path", [page.path for page in PAGES if page.scope == "read"])
async def test_a_database_that_is_away_is_said_on_the_page(offline: Client, path: str) -> None:
    """503 and a page that says what to do, also on a form; nobody is shown a bare error."""
    seat = await seated(offline)

    answer = await seat.get(path)

    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert "The database does not answer" in answer.body.decode()
    assert flaws(answer.body.decode()) == []
