"""The part that all admins have in common: faults, counts, a reset, and the app around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.pages import document


class Account(Protocol):
    """The part of a vendor's account that every admin uses."""

    chaos: Any  # whose `faults` are a model

    def stats(self) -> dict[str, Any]:
        """Return the counts."""

    def reset(self) -> None:
        """Go back to the state at the start."""

    def open(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold the vendor at work inside the block."""


def create_app(account: Account, routes: Sequence[Route]) -> Starlette:
    """Create the admin of one account from *routes* and the common ones; its lifespan is the account's."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.account = account
        async with account.open():
            yield

    common = [
        Route("/sandbox/faults", show_faults, methods=["GET"]),
        Route("/sandbox/faults", set_faults, methods=["POST"]),
        Route("/sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/sandbox/stats", show_stats),
        Route("/sandbox/reset", reset, methods=["POST"]),
    ]
    return Starlette(routes=[*routes, *common], lifespan=lifespan, exception_handlers={ValidationError: _invalid})


async def show_faults(request: Request) -> Response:
    """Show the faults in force."""
    return document(_account(request).chaos.faults.model_dump(mode="json"))


async def set_faults(request: Request) -> Response:
    """Replace the faults in force by those of the document."""
    chaos = _account(request).chaos
    chaos.faults = _model(chaos).model_validate_json(await request.body())
    return await show_faults(request)


async def clear_faults(request: Request) -> Response:
    """End all faults."""
    chaos = _account(request).chaos
    chaos.faults = _model(chaos)()
    return await show_faults(request)


async def show_stats(request: Request) -> Response:
    """Show the counts."""
    return document(_account(request).stats())


async def reset(request: Request) -> Response:
    """Set the account back to the state at its start; show the counts."""
    _account(request).reset()
    return await show_stats(request)


async def _invalid(_: Request, error: Exception) -> Response:
    detail = (
        error.errors(include_url=False, include_context=False, include_input=False)
        if isinstance(error, ValidationError)
        else []
    )
    return document({"detail": detail}, 422)


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account


def _model(chaos: Any) -> type[BaseModel]:
    model: type[BaseModel] = type(chaos.faults)
    return model
