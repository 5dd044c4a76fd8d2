"""Rules about the tree itself that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "apps").rglob("*.py"))
PACKAGE_EXCEPTIONS = {
    "apps/orchestration/nodes/__init__.py",
    "apps/orchestration/prompts/__init__.py",
}
MAX_LINES = 300
MAX_FUNCTION_LINES = 40
BANNED_NAMES = {"utils", "helpers", "common", "misc"}


def tracked() -> list[Path]:
    """Every file that git knows, or will know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """No module is over 300 lines and no function over 40."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    """An `__init__.py` says what the room is for; two of them do one thing more."""
    for path in (ROOT / "apps").rglob("__init__.py"):
        if str(path.relative_to(ROOT)) not in PACKAGE_EXCEPTIONS:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


def test_no_room_without_a_concept() -> None:
    """There is no `utils`, and nothing that means the same."""
    assert not [path for path in SOURCES if path.stem in BANNED_NAMES]


def test_only_settings_reads_the_environment() -> None:
    """The environment is read in one file; setting a variable for a library is not reading."""
    reading = re.compile(r"os\.getenv|os\.environ(?!\.setdefault|\[\"[A-Z_]+\"\] =)")
    allowed = {ROOT / "apps/core/settings.py"}
    found = [p for p in SOURCES if p not in allowed and reading.search(p.read_text("utf-8"))]
    assert not found


def test_each_node_has_one_word_everywhere() -> None:
    """A node's file, name, flag and prompts carry the same word; operators know its flag."""
    from apps.core.flags.catalogue import CATALOGUE
    from apps.orchestration.nodes import PIPELINE

    for node in PIPELINE:
        assert (ROOT / f"apps/orchestration/nodes/{node.name}.py").is_file()
        assert (ROOT / f"tests/orchestration/nodes/test_{node.name}.py").is_file()
        assert node.flag is None or (node.flag.key == node.name and node.flag in CATALOGUE)


def test_the_wheel_carries_what_migrates() -> None:
    """Alembic's files lie at the top; the wheel puts them where the program looks for them."""
    from apps.core.storage import migrate

    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    moved = build["targets"]["wheel"]["force-include"]
    assert {ROOT / to: ROOT / source for source, to in moved.items()} == {
        migrate.IN_WHEEL / name: migrate.IN_TREE / name for name in ("alembic.ini", "migrations")
    }
    assert all((ROOT / source).exists() for source in moved)


def test_nothing_secret_or_local_is_committed() -> None:
    """No provider key, no path of a developer's machine, no registry host in any file."""
    key = re.compile(rb"AIza[0-9A-Za-z_-]{35}")
    hosts = ("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian")
    registry = re.compile("|".join(map(re.escape, hosts)).encode())
    local = re.compile(rb"/(?:work|root|home/[a-z]+)/[A-Za-z0-9_.-]+/")
    for path in tracked():
        content = path.read_bytes()
        assert not key.search(content), path
        if "vendor" not in path.parts and path != Path(__file__):
            assert not registry.search(content), path
            assert not local.search(content), path
