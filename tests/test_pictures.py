"""The pictures of chaos, soak and bench are drawn where matplotlib is installed, and missed nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bench.picture
import chaos.picture
import chaos.soak.picture
from chaos.journal import Happened
from chaos.plan import draw as draw_plan
from rig.picture import save
from tests.test_soak import flat

ROOT = Path(__file__).parent.parent
HAPPENED = [Happened(fault, fault.at, fault.at + fault.seconds) for fault in draw_plan(7, 60.0, short=False)]
COURSE = chaos.picture.Course("chaos", [(0.0, 1.0), (60.0, 2.0)], [(0.0, 0.0), (60.0, 2.0)], HAPPENED, 0.0, 50.0)
ROWS = json.loads((ROOT / "bench" / "results.json").read_text(encoding="utf-8"))["rows"]
PICTURES: dict[str, Callable[[Any], None]] = {
    "chaos": partial(chaos.picture.draw, course=COURSE),
    "chaos in which nothing happened": partial(chaos.picture.draw, course=replace(COURSE, happened=[])),
    "soak": partial(chaos.soak.picture.draw, title="soak", samples=[flat(float(at)) for at in range(20)]),
    "soak without a sample": partial(chaos.soak.picture.draw, title="soak", samples=[]),
    "bench": partial(bench.picture.draw, rows=ROWS),
    "bench without a row": partial(bench.picture.draw, rows=[]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn(name: str, tmp_path: Path) -> None:
    """It is a file that a browser shows, whatever was measured."""
    pytest.importorskip("matplotlib", reason="the extra bench is not installed")
    path = tmp_path / "new folder" / "picture.svg"

    assert save(path, (8.0, 40.0), PICTURES[name])

    assert "<svg" in path.read_text(encoding="utf-8")


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run whose picture cannot be drawn still writes its report."""
    monkeypatch.setattr("rig.picture.find_spec", lambda _: None)

    assert not save(tmp_path / "picture.svg", (8.0, 8.0), PICTURES["bench"])
    assert list(tmp_path.iterdir()) == []
