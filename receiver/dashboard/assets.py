"""The dashboard's scripts and styles: our own, and vendored copies of htmx (0BSD) and uPlot (MIT), from this address
alone.

Their addresses hold a hash of their content, so a browser keeps them until they change.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEEP = {"Cache-Control": "public, max-age=31536000, immutable"}

_CONTENTS = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
_HASHES = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in _CONTENTS.items()}


def address_of(name: str) -> str:
    """Return the address of the file *name*. Raise KeyError if there is none."""
    return f"/static/{name}?{_HASHES[name]}"


async def serve(request: Request) -> Response:
    """Answer GET /static/{name}."""
    name = request.path_params["name"]
    if name not in _CONTENTS:
        raise HTTPException(404)
    # Without its hash the address may be from an older page: it is asked for again.
    headers = KEEP if request.url.query == _HASHES[name] else {"Cache-Control": "no-cache"}
    return Response(_CONTENTS[name], headers=headers, media_type=TYPES[Path(name).suffix])
