"""Every address of the dashboard, in one table."""

from __future__ import annotations

from starlette.routing import Route

from enrichment.setting_types import Scope
from receiver.auth import Handler
from receiver.dashboard import assets
from receiver.dashboard.audit import AuditPage
from receiver.dashboard.brake import Brake
from receiver.dashboard.deliveries import DeliveriesPage
from receiver.dashboard.desk import Desk
from receiver.dashboard.file_downloads import FileDownloads
from receiver.dashboard.file_forms import FileForms
from receiver.dashboard.files import Files
from receiver.dashboard.history import HistoryPage
from receiver.dashboard.ledger import LedgerPage
from receiver.dashboard.live import Live
from receiver.dashboard.login import Login
from receiver.dashboard.lookup import LookupPage
from receiver.dashboard.lookups import LookupList
from receiver.dashboard.now import NowPage
from receiver.dashboard.readings import ReadingsPage
from receiver.dashboard.selections import SelectionPages
from receiver.dashboard.start import StartPage
from receiver.dashboard.suppressions import SuppressionsPage


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
        login, brake, start = Login(self._desk), Brake(self._desk), StartPage(self._desk)
        live = Live(self._desk, self._now)
        return [
            PageRoute("/static/{name}", assets.serve),
            PageRoute("/login", login.page),
            PageRoute("/login", login.enter, methods=["POST"]),
            PageRoute("/logout", login.leave, methods=["POST"]),
            self._page("/", self._now.page),
            PageRoute("/live", self._desk.guard(live.stream, "read", live.goodbye)),
            self._page("/history", self._history.page),
            self._form("/pause", brake.pull),
            self._form("/resume", brake.let_go),
            *self._lookups(),
            *self._books(),
            *self._files(),
            self._page("/start", start.page),
            self._form("/start", start.send),
        ]

    def _lookups(self) -> list[PageRoute]:
        """Return the list of lookups, the page of each, and what is done to many."""
        lists, one, selections = LookupList(self._desk), LookupPage(self._desk), SelectionPages(self._desk)
        return [
            self._page("/lookups", lists.page),
            self._form("/lookups", lists.search, "read"),
            self._page("/lookups/selection", selections.begin, "operate"),  # before /lookups/{id}, which it fits
            self._form("/lookups/selection", selections.preview),
            self._page("/lookups/selection/{id}", selections.page),
            self._form("/lookups/selection/{id}", selections.apply),
            self._page("/lookups/{id}", one.page),
            self._form("/lookups/{id}", one.decide, "read"),  # to reveal; a decision demands more
        ]

    def _books(self) -> list[PageRoute]:
        """Return the lists of what went out, came in and was spent, and of people's rights."""
        deliveries, suppressions = DeliveriesPage(self._desk), SuppressionsPage(self._desk)
        return [
            self._page("/deliveries", deliveries.page),
            self._form("/deliveries/{id}/replay", deliveries.replay),
            self._page("/readings", ReadingsPage(self._desk).page),
            self._page("/suppressions", suppressions.page),
            self._form("/suppressions", suppressions.suppress),
            self._form("/suppressions/{id}/remove", suppressions.unsuppress),
            self._form("/suppressions/find", suppressions.find, "admin"),
            self._form("/suppressions/erase", suppressions.erase, "admin"),
            self._page("/ledger", LedgerPage(self._desk).page),
            self._page("/audit", AuditPage(self._desk).page, "admin"),
        ]

    def _files(self) -> list[PageRoute]:
        """Return the pages of files, and what a person decides about them."""
        files, forms = Files(self._desk), FileForms(self._desk)
        upload = self._desk.guard(files.upload, "operate", takes_turn=False)
        download = self._desk.guard(FileDownloads(self._desk).enriched, "operate", takes_turn=False)
        return [
            self._page("/files", files.page),
            PageRoute("/files", upload, methods=["POST"]),
            self._page("/files/{id}", files.one),
            self._page("/files/{id}/part", files.part),
            PageRoute("/files/{id}/enriched", download),
            self._form("/files/{id}/columns", forms.columns),
            self._form("/files/{id}/sample", forms.sample),
            self._form("/files/{id}/approve", forms.approve),
            self._form("/files/{id}/go-on", forms.go_on),
            self._form("/files/{id}/stop", forms.stop),
        ]

    def close(self) -> None:
        """End what is still under way."""
        self._now.close()
        self._history.close()

    def _page(self, path: str, handler: Handler, scope: Scope = "read") -> PageRoute:
        return PageRoute(path, self._desk.guard(handler, scope))

    def _form(self, path: str, handler: Handler, scope: Scope = "operate") -> PageRoute:
        return PageRoute(path, self._desk.guard(handler, scope), methods=["POST"])
