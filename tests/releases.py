"""Folders with the program of another release: the one before this, and one after it."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rig.processes import environment, python
from tests.commands import ROOT, Running, running

PROGRAM = ("console", "enrichment", "receiver", "rig", "store", "submitter")


@dataclass
class Release:
    """The processes of one release, on one database."""

    name: str
    folder: Path
    settings: dict[str, str]
    stack: AsyncExitStack = field(repr=False)
    processes: dict[str, Running] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where its receiver is."""
        return self.settings["PUBLIC_URL"]

    async def run(self, *command: str) -> Running:
        """Start `python -m COMMAND` with this release's modules."""
        env = environment(**self.settings) | ({} if self.folder == ROOT else {"PYTHONPATH": str(self.folder)})
        return await self.stack.enter_async_context(running(python(*command), env, self.folder))

    async def migrate(self) -> list[str]:
        """Run its release phase; return what it said."""
        migrating = await self.run("console", "migrate")
        assert await migrating.ends() == 0, migrating.lines
        return migrating.lines

    async def start(self, *modules: str) -> None:
        """Start these processes, and wait until each works."""
        for module in modules:
            self.processes[module] = await self.run(module)
        for module in modules:
            await self.processes[module].says('"event": "listening"' if module == "receiver" else '"event": "started"')


@asynccontextmanager
async def release(name: str, folder: Path, **settings: str) -> AsyncIterator[Release]:
    """Hold a release inside the block, and kill its processes afterwards."""
    async with AsyncExitStack() as stack:
        yield Release(name, folder, settings, stack)


def newest_commit_of_the_previous_release() -> str | None:
    """Return the commit before the one that gave this version; None where the history is not there."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    given = _git("log", "-1", "--format=%H", "-S", f'version = "{version}"', "--", "pyproject.toml") or "HEAD"
    return _git("rev-parse", "--verify", "--quiet", f"{given}^1^{{commit}}") or None


def described(commit: str) -> str:
    """Return a commit's abbreviated hash and subject."""
    return _git("log", "-1", "--format=%h (%s)", commit)


def check_out(commit: str, folder: Path) -> Path:
    """Fill *folder* with the files of *commit*."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True, timeout=30).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
    return folder


def next_release(folder: Path, schema: str) -> Path:
    """Fill *folder* with our own program and another *schema*."""
    for package in PROGRAM:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "schema.sql").write_text(schema, encoding="utf-8")
    return folder


def _git(*arguments: str) -> str:
    """Return git's answer; nothing where git, the repository or the commit is missing."""
    git = shutil.which("git")
    if git is None:
        return ""
    return subprocess.run(
        [git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    ).stdout.strip()
