"""Pictures of a run, by matplotlib, which comes with the extra `bench`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def save(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> bool:
    """Let *draw* fill a matplotlib Figure of *size* inches, and save it; return False without matplotlib."""
    if find_spec("matplotlib") is None:
        return False
    figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    draw(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return True
