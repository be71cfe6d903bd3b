"""/openapi.json for programs, and /docs for people: Swagger UI, served from our own address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

# The page loads nothing from other hosts, and runs no inline script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASK_AGAIN = {"Cache-Control": "no-cache"}
KEEP = {"Cache-Control": "public, max-age=86400"}  # seconds; the files change with a release only

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ringback API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/viewer/swagger-ui.css">
<script defer src="/docs/viewer/swagger-ui-bundle.js"></script>
<script defer src="/docs/viewer/start.js"></script>
</head>
<body><main id="api">The description for programs is at <a href="/openapi.json">/openapi.json</a>.</main></body>
</html>
"""
START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null});
"""
FILES = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})


class Docs:
    """The handlers that describe the API."""

    def __init__(self, described: dict[str, Any]) -> None:
        self._document = Text(json.dumps(described, ensure_ascii=False), "application/json")
        self._page = Text(PAGE, "text/html", {"Content-Security-Policy": POLICY})

    async def document(self, request: Request) -> Response:
        """Answer GET /openapi.json."""
        return self._document.answer(request)

    async def page(self, request: Request) -> Response:
        """Answer GET /docs."""
        return self._page.answer(request)


class Text:
    """A text that stays the same until the next release: rendered once, and not sent to those who have it."""

    def __init__(self, text: str, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        kept = ASK_AGAIN | {"ETag": self._tag, **(headers or {})}
        self._whole = Response(text, media_type=media_type, headers=kept)
        self._unchanged = Response(status_code=304, headers=kept)

    def answer(self, request: Request) -> Response:
        """Return the text, or a 304 if the request names its tag."""
        tags = request.headers.get("if-none-match", "")
        return self._unchanged if self._tag in tags or tags.strip() == "*" else self._whole


def viewer() -> Mount:
    """Build the route for the files that /docs loads."""
    folder = _swagger_ui()

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "start.js":
            return Response(START, media_type="text/javascript", headers=ASK_AGAIN)
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(folder / name, headers=KEEP)

    return Mount("/docs/viewer", routes=[Route("/{name}", file)])


def _swagger_ui() -> Path:
    """Return the folder of Swagger UI, without importing the package, which would load Flask."""
    found = find_spec("flask_swagger_ui")
    assert found is not None  # noqa: S101  a dependency of ours
    assert found.origin is not None  # noqa: S101  a file
    return Path(found.origin).parent / "dist"
