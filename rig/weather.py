"""The kinds of network failure: refused, swallowed, silent, cut off after the request, slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """The failures of a network; the default is none."""

    refuse: bool = False  # new connections are refused, and existing ones are cut
    cut: bool = False  # new connections are accepted and cut at once, and existing ones are cut
    black_hole: bool = False  # bytes are swallowed, both ways; a connection that lost some stays dead
    silent: bool = False  # bytes wait until the weather changes, both ways; so do new connections
    reset: float = 0.0  # this share of the answers is not delivered: the client gets an RST instead
    slow: bool = False  # bytes trickle, both ways
    unanswered: bytes = b""  # a request that contains these arrives, and its client gets an RST instead of an answer


FAIR = Weather()


def together(weathers: Sequence[Weather]) -> Weather:
    """Return the weather with all of these failures at the same time."""
    return Weather(
        refuse=any(weather.refuse for weather in weathers),
        cut=any(weather.cut for weather in weathers),
        black_hole=any(weather.black_hole for weather in weathers),
        silent=any(weather.silent for weather in weathers),
        reset=max((weather.reset for weather in weathers), default=0.0),
        slow=any(weather.slow for weather in weathers),
        unanswered=next((weather.unanswered for weather in weathers if weather.unanswered), b""),
    )
