"""A shell completes our commands: bash, zsh and fish ask as typer's scripts do."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrichment.export import FORMATS
from enrichment.selection import REPLAYED
from enrichment.settings import CRM_NAMES, PROVIDER_NAMES, SOURCE_NAMES
from tests.commands import ringback


async def completed(line: str, folder: Path) -> list[str]:
    """Return what bash is told for the last word of *line*."""
    words = line.split(" ")
    told = await ringback(
        cwd=folder, _RINGBACK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert (told.code, told.err) == (0, "")
    return told.out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ringback exp", ["export"]),
        ("ringback connect ", [*CRM_NAMES]),
        ("ringback disconnect ", [*CRM_NAMES]),
        ("ringback pause --provider ", [*PROVIDER_NAMES]),
        ("ringback resume --source ", [*SOURCE_NAMES]),
        ("ringback retry --status f", ["found", "failed"]),
        ("ringback replay --state ", [*REPLAYED]),
        ("ringback replay --channel ", ["webhook", *CRM_NAMES]),
        ("ringback export --provider n", ["nyne"]),
        ("ringback export --format ", [*FORMATS]),
        ("ringback export --columns id,mobile,li", ["id,mobile,line_type"]),
    ],
)
async def test_what_takes_one_of_a_few_words_is_completed(line: str, words: list[str], tmp_path: Path) -> None:
    """Commands, CRMs, providers, sources, statuses, formats and columns."""
    assert await completed(line, tmp_path) == words


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"_RINGBACK_COMPLETE": "complete_zsh"}, "_arguments '*: :((\"ndjson\"))'"),
        ({"_RINGBACK_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "ndjson"),
    ],
)
async def test_other_shells_ask_in_their_own_way(asked: dict[str, str], told: str, tmp_path: Path) -> None:
    """zsh and fish get the same words."""
    outcome = await ringback(cwd=tmp_path, _TYPER_COMPLETE_ARGS="ringback export --format n", **asked)

    assert (outcome.code, outcome.out.strip()) == (0, told)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_of_each_shell_is_shown(shell: str, tmp_path: Path) -> None:
    """--show-completion prints what --install-completion would store."""
    told = await ringback("--show-completion", shell, cwd=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert told.code == 0
    assert f"_RINGBACK_COMPLETE=complete_{shell}" in told.out
