"""Dockerfile, compose.yaml, the systemd units and the pages about them fit each other and the program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from console.__main__ import cli
from enrichment.settings import Settings, setting_fields
from tests.deployed import PROCFILE

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "ops/systemd"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
PAGES = [*sorted((ROOT / "docs/deploy").glob("*.md")), ROOT / "docs/deploy.md", ROOT / "SECURITY.md"]
NAMES = {name.upper() for name in setting_fields()}
OURS = ("migrate", "web", "submitter", "reconciler")
SECRET_OF_PROVIDERS = re.compile("LEADMAGIC|NYNE|HUBSPOT_ACCESS", re.IGNORECASE)

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here; apt-get install systemd"
)


def is_setting(name: str) -> bool:
    """Tell whether a variable is one of our settings, or names the file of one."""
    return name in NAMES or name.removesuffix("_FILE") in NAMES


def unit(name: str) -> list[tuple[str, str]]:
    """Return the keys and values of a service, with those that all services share."""
    files = (UNITS / "ringback-.service.d/all.conf", UNITS / f"ringback-{name}.service")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [(line.partition("=")[0], line.partition("=")[2]) for line in lines if re.match(r"\w+=", line)]


def test_the_image_is_built_of_files_that_are_there() -> None:
    """Each COPY finds its source, .dockerignore lets it in, and every package of the wheel is copied."""
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    packages = re.search(r"^packages = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)

    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages[1])) <= set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if not any(fnmatch(source, pattern) for pattern in let_in)] == []
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert ".[dev]" not in DOCKERFILE


@pytest.mark.parametrize("service", OURS)
def test_a_container_may_do_nothing_but_its_work(service: str) -> None:
    """Read-only root, no capabilities; every variable is a setting, and every secret is a file that is handed to it."""
    settings = COMPOSE["services"][service]

    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["stop_grace_period"] == "50s"
    assert [name for name in settings["environment"] if not is_setting(name)] == []
    files = {value for name, value in settings["environment"].items() if name.endswith("_FILE")}
    assert files == {f"/run/secrets/{name}" for name in settings["secrets"]}
    assert set(settings["secrets"]) <= set(COMPOSE["secrets"])
    if service == "migrate":
        assert settings["command"] == shlex.split(PROCFILE["release"])
    else:
        assert settings["command"] == shlex.split(PROCFILE[service])
        assert settings["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    if service in {"web", "migrate"}:
        assert not SECRET_OF_PROVIDERS.search(str(settings["secrets"]))


@pytest.mark.parametrize("name", OURS)
def test_a_unit_runs_its_line_of_the_procfile(name: str) -> None:
    """With settings that exist, and a credential for each NAME_FILE."""
    pairs = unit(name)
    variables = dict(value.split("=", 1) for key, value in pairs if key == "Environment")
    credentials = {value.partition(":")[0] for key, value in pairs if key == "LoadCredential"}
    (command,) = [value for key, value in pairs if key == "ExecStart"]
    line = PROCFILE["release" if name == "migrate" else name]

    assert shlex.split(command.removeprefix("/opt/ringback/bin/").replace(" -P ", " ")) == shlex.split(line)
    assert [variable for variable in variables if not is_setting(variable)] == []
    assert variables == {f"{one}_FILE": f"%d/{one}" for one in credentials}
    assert ("RestartPreventExitStatus", "2") in pairs
    if name in {"web", "migrate"}:
        assert not SECRET_OF_PROVIDERS.search(" ".join(credentials))


@pytest.mark.parametrize("name", ["web", "submitter", "reconciler"])
def test_a_unit_hands_its_process_all_that_it_needs(
    name: str,
    bare: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each credential is read from its file, and no setting is missing."""
    for key, value in unit(name):
        if key == "Environment":
            variable, path = value.split("=", 1)
            file = tmp_path / path.removeprefix("%d/")
            file.write_text("postgresql://ringback@db/ringback" if "DATABASE" in path else "x" * 40)
            bare.setenv(variable, str(file))

    Settings.load("receiver" if name == "web" else "submitter")


@needs_systemd
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """It finds nothing to say, and little that is exposed."""
    for file in UNITS.rglob("*.*"):
        if file.is_file():
            target = tmp_path / file.relative_to(UNITS)
            target.parent.mkdir(exist_ok=True)
            programs = str(Path(sys.executable).parent)
            target.write_text(file.read_text(encoding="utf-8").replace("/opt/ringback/bin", programs))
    services = sorted(str(file) for file in tmp_path.glob("*.service"))
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    checks = [["verify", str(tmp_path / "ringback.target"), *services]]
    checks += [["security", "--offline=true", "--threshold=20", service] for service in services]
    for check in checks:
        told = subprocess.run(
            ["systemd-analyze", *check], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert told.returncode == 0, told.stdout + told.stderr
    assert len(services) == len(OURS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Links, files below ops/, and commands."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not (page.parent / link).exists()]
    files = [name for name in re.findall(r"\bops/[\w./-]*\w", text) if not (ROOT / name).exists()]
    commands = {command.callback.__name__ for command in cli.registered_commands if command.callback}
    assert links == []
    assert files == []
    assert set(re.findall(r"(?:^|[` /])ringback ([a-z]+)\b(?=[`\n ]*$)", text, re.MULTILINE)) <= commands


def test_every_test_that_security_names_exists() -> None:
    """The table is a promise; a test shows it."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))

    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / "tests" / f"{name}.py").exists()] == []
