"""Environments for tests of settings: nothing is set, or everything that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrichment.settings import Role, Settings, SettingsError, setting_fields

COMPLETE = {
    "API_TOKENS": "token-1, token-2",
    "LEADMAGIC_API_KEY": "leadmagic-key",
    "NYNE_API_KEY": "nyne-key",
    "NYNE_API_SECRET": "nyne-secret",
    "CALLBACK_KEYS": "new-key,old-key",
    "PUBLIC_URL": "https://ringback.test/",
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set nothing, in a folder without a `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in setting_fields():
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.fixture
def environment(bare: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set everything that is needed."""
    for name, value in COMPLETE.items():
        bare.setenv(name, value)
    return bare


def problems(role: Role) -> dict[str, str]:
    """Return the problems of the settings for *role*, by setting."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(role)
    return dict(problem.split(": ", 1) for problem in refused.value.problems)
