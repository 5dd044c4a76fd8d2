"""The settings of a kill, with everything wrong that can be wrong with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.core.least_settings import load

URL = "postgresql+asyncpg://db/flags"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "service.env"


def test_sound_settings_are_all_there(file: Path, tmp_path: Path) -> None:
    """And nothing is said of them."""
    file.write_text(f"DTRAG_HOME={tmp_path}\nAPI_PORT=81\n")
    found = load({"DTRAG_ENV_FILE": str(file)})
    assert (found.fault, found.settings.API_PORT, found.has_database) == ("", 81, True)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", "line 3 is not KEY=VALUE"),
        ("FEATURE_DEBATE_MODE=maybe", "FEATURE_DEBATE_MODE: 'maybe' is not one of"),
        ("API_PORT='80", "line 3: API_PORT has a quote"),
        ("API_PORT=many", "API_PORT"),
        ("SECRET_KEY=$(cat key)", "command substitution"),
        ("ENVIRONMENT=production", "SECRET_KEY"),
    ],
)
def test_a_broken_line_leaves_home_and_database(
    file: Path, tmp_path: Path, line: str, told: str
) -> None:
    """The fault is one sentence, and what a kill needs is read from the other lines."""
    file.write_text(f"DTRAG_HOME={tmp_path}\nDATABASE_URL={URL}\n{line}\n")
    found = load({"DTRAG_ENV_FILE": str(file)})
    assert told in found.fault
    assert found.fault.count("\n") == 0
    assert (found.settings.DTRAG_HOME, found.settings.database_url) == (tmp_path, URL)
    assert found.has_database


def test_the_process_wins_over_a_broken_file(file: Path, tmp_path: Path) -> None:
    """As it does in a sound one; the secrets directory stands between defaults and file."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "DATABASE_URL").write_text(f"{URL}\n")
    file.write_text(f"DTRAG_SECRETS_DIR={tmp_path}/secrets\nDTRAG_HOME=/elsewhere\nbroken\n")
    found = load({"DTRAG_ENV_FILE": str(file), "DTRAG_HOME": str(tmp_path)})
    assert (found.settings.DTRAG_HOME, found.settings.database_url) == (tmp_path, URL)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"DATABASE_URL=mysql://db\nbroken\n"])
def test_a_database_that_nobody_can_name_is_not_guessed(
    file: Path, tmp_path: Path, content: bytes | None
) -> None:
    """A new file in the home would be killed in instead of the service's database."""
    if content is not None:
        file.write_bytes(content)
    env = {"DTRAG_ENV_FILE": str(file), "DTRAG_HOME": str(tmp_path)}
    found = load(env)
    assert found.fault
    assert (found.has_database, found.settings.DTRAG_HOME) == (False, tmp_path)
    (tmp_path / "dtrag.db").touch()
    assert load(env).has_database is (content is None or b"mysql" not in content)
