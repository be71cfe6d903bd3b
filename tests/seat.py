"""A browser at the dashboard: logged in, with the session's cookie, and forms that come from our own pages."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from tests.asgi import Answer, Client
from tests.conftest import TOKEN

FORM = "application/x-www-form-urlencoded"
OURS = {"sec-fetch-site": "same-origin"}
ELSEWHERE = {"sec-fetch-site": "cross-site"}


class Seat(Client):
    """A client that sends forms as a browser does."""

    async def form(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form."""
        given = {"content-type": FORM} | dict(headers or {})
        return await self.send("POST", path, urlencode(fields).encode(), given)

    async def page(self, path: str, status: int = 200) -> str:
        """Return the text of a page, which is answered with *status*."""
        answer = await self.get(path)
        assert answer.status == status, (answer.status, answer.headers, answer.body)
        return answer.body.decode()


async def seated(client: Client, token: str = TOKEN) -> Seat:
    """Log in with *token*, and return a browser of the same receiver whose requests carry the session."""
    seat = Seat(client.app, OURS)
    answer = await seat.form("/login", {"token": token})
    assert answer.status == 303, answer.body
    return Seat(client.app, OURS | {"cookie": answer.headers["set-cookie"].partition(";")[0]})
