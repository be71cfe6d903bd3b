"""Every address of the dashboard, in one table."""

from __future__ import annotations

from starlette.routing import Route

from enrichment.setting_types import Scope
from receiver.auth import Handler
from receiver.dashboard import assets
from receiver.dashboard.brake import Brake
from receiver.dashboard.desk import Desk
from receiver.dashboard.history import HistoryPage
from receiver.dashboard.live import Live
from receiver.dashboard.login import Login
from receiver.dashboard.now import NowPage


class PageRoute(Route):
    """An address for people: /openapi.json, which is for programs, does not name it."""


class Dashboard:
    """The pages of one process, and what they keep."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._now = NowPage(desk)
        self._history = HistoryPage(desk)

    def routes(self) -> list[PageRoute]:
        """Return the routes."""
        login, brake = Login(self._desk), Brake(self._desk)
        return [
            PageRoute("/static/{name}", assets.serve),
            PageRoute("/login", login.page),
            PageRoute("/login", login.enter, methods=["POST"]),
            PageRoute("/logout", login.leave, methods=["POST"]),
            self._page("/", self._now.page),
            self._page("/live", Live(self._desk, self._now).stream),
            self._page("/history", self._history.page),
            self._form("/pause", brake.pull),
            self._form("/resume", brake.let_go),
        ]

    def close(self) -> None:
        """End what is still under way."""
        self._now.close()
        self._history.close()

    def _page(self, path: str, handler: Handler, scope: Scope = "read") -> PageRoute:
        return PageRoute(path, self._desk.guard(handler, scope))

    def _form(self, path: str, handler: Handler, scope: Scope = "operate") -> PageRoute:
        return PageRoute(path, self._desk.guard(handler, scope), methods=["POST"])
