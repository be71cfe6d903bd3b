"""What `pip install` puts on a machine is all that the commands need, wherever they are run from."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("console", "enrichment", "receiver", "rig", "sandbox", "store", "submitter")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: the build needs no network.
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("ringback-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing of the repository."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run python in another folder, with the installed program before the edited one."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_wheel_has_every_file_of_every_package(wheel: Path) -> None:
    """Modules, and the files beside them that they read."""
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())

    assert ours - there == set()


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    """No tests, no benchmarks, no settings of a machine."""
    with zipfile.ZipFile(wheel) as archive:
        rooms = {name.partition("/")[0] for name in archive.namelist()}

    assert {room for room in rooms if not room.endswith(".dist-info")} == set(PACKAGES)


def test_the_schema_travels_with_the_package(installed: Path) -> None:
    """It stays at the root of the repository, and the copy that is installed is the same, byte for byte."""
    assert (installed / "store/schema.sql").read_bytes() == (ROOT / "schema.sql").read_bytes()


def test_the_installed_program_reads_its_own_schema(installed: Path) -> None:
    """The steps come out of the package, not out of a repository that happens to be around."""
    told = run(
        installed,
        "-c",
        "import enrichment, store.migrations as m; print(enrichment.__file__, len(m.read_steps()))",
    )

    steps = (ROOT / "schema.sql").read_text(encoding="utf-8").count("\n-- step ")
    assert told.stdout.split() == [str(installed / "enrichment/__init__.py"), str(steps)], told.stderr


def test_the_command_is_declared(installed: Path) -> None:
    """pip makes `ringback` out of this line."""
    (declared,) = installed.glob("*.dist-info/entry_points.txt")

    assert "ringback = console.__main__:main" in declared.read_text()


def test_the_command_runs_anywhere(installed: Path) -> None:
    """`ringback --version`, from a folder that has nothing to do with it."""
    told = run(installed, "-m", "console", "--version")

    assert told.stdout.startswith("ringback "), told.stderr


@pytest.mark.parametrize("module", ["receiver", "submitter", "submitter.reconciler"])
def test_a_process_starts_anywhere(installed: Path, module: str) -> None:
    """Everything it imports is there: it comes as far as saying which settings it lacks."""
    told = run(installed, "-m", module)

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("The settings cannot be used:\n")
    assert "Traceback" not in told.stderr


def test_a_vendor_of_the_sandbox_starts_anywhere(installed: Path) -> None:
    """The demo needs no repository."""
    told = run(installed, "-m", "sandbox", "nyne", "--help")

    assert told.returncode == 0, told.stderr
