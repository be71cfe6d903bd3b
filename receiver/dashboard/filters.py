"""Read a list's filters from its address, where a form sends those that were not chosen as empty; and write them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request


def given(request: Request) -> dict[str, str]:
    """Return the parameters of the address that are not empty."""
    return {name: value for name, value in request.query_params.items() if value.strip()}


def written(query: Mapping[str, str], *names: str) -> str:
    """Return those parameters of *query* that *names* lists, as an address has them."""
    return urlencode({name: query[name] for name in names if name in query})
