"""The env file and the KILL file of a host, with every trap that they were seen to hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from apps.core.flags import sources
from apps.core.flags.sources import FlagFiles, killed_by
from apps.core.settings import load

KNOWN = ("debate_mode", "reranker")
VETO = b"FEATURE_DEBATE_MODE=false\n"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An env file that vetoes one flag."""
    path = tmp_path / "flags.env"
    path.write_bytes(VETO)
    return path


@pytest.fixture
def opened(env: Path, tmp_path: Path) -> Callable[..., FlagFiles]:
    def make(**environment: str) -> FlagFiles:
        home = {"DTRAG_HOME": str(tmp_path), "DTRAG_ENV_FILE": str(env)}
        return FlagFiles(load({**home, **environment}))

    return make


def word(files: FlagFiles, key: str = "debate_mode") -> str:
    return files.environment.words.get(key, "auto")


def seen(files: FlagFiles) -> bool:
    """Two looks, because a file must have settled."""
    return any([files.look(KNOWN), files.look(KNOWN)])


def replace(path: Path, content: bytes) -> None:
    """As careful writers do."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfFEATURE_DEBATE_MODE=true\r\n",
        b"export FEATURE_DEBATE_MODE='yes'  # pilot\n",
        b'FEATURE_DEBATE_MODE = "1"\n',
        b"FEATURE_DEBATE_MODE=ON",
    ],
)
def test_spellings_that_mean_true(
    env: Path, opened: Callable[..., FlagFiles], content: bytes
) -> None:
    """A mark in front, other line ends, quotes and comments do not change a word."""
    files = opened()
    replace(env, content)
    assert seen(files)
    assert word(files) == "true"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"FEATURE_DEBATE_MODE=$(cat /etc/flag)", "command substitution"),
        (b"FEATURE_DEBATE_MODE=`cat flag`", "command substitution"),
        (b"FEATURE_DEBATE_MODE='true", "quote without its pair"),
        (b"FEATURE_DEBATE_MODE=maybe", "not one of true"),
        (b"FEATURE_DEBAT_MODE=false", "no flag for FEATURE_DEBAT_MODE"),
        (b"FEATURE_RERANKER=true\nFEATURE_RERANKER=true", "given twice"),
        (b"FEATURE_DEBATE_MODE", "not KEY=VALUE"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_with_a_fault_keeps_the_last_good_words(
    env: Path,
    opened: Callable[..., FlagFiles],
    capsys: pytest.CaptureFixture[str],
    line: bytes,
    told: str,
) -> None:
    """The whole file is refused once, with its line, and a good one mends it."""
    files = opened()
    before = REGISTRY.get_sample_value("dtrag_flag_envfile_errors_total") or 0
    replace(env, b"# two lines\nUSE_RERANKER=true\n" + line + b"\n")
    assert seen(files)
    assert (word(files), word(files, "reranker"), files.ok) == ("false", "auto", False)
    assert not seen(files)
    assert REGISTRY.get_sample_value("dtrag_flag_envfile_errors_total") == before + 1
    said = capsys.readouterr()
    assert told in said.out + said.err
    assert "line" in said.out + said.err or line == b"\xff\xfe"
    replace(env, b"FEATURE_DEBATE_MODE=true\n")
    assert seen(files)
    assert (word(files), files.ok) == ("true", True)


def test_a_key_that_is_removed_means_auto(env: Path, opened: Callable[..., FlagFiles]) -> None:
    """An empty file is a file without opinions."""
    files = opened()
    replace(env, b"")
    assert seen(files)
    assert word(files) == "auto"


def test_a_file_that_is_being_written_is_left_alone(
    env: Path, opened: Callable[..., FlagFiles]
) -> None:
    """An editor that empties the file first must not lift a veto for a moment."""
    files = opened()
    env.write_bytes(b"")
    assert not files.look(KNOWN)
    env.write_bytes(VETO + b"# longer\n")
    assert not files.look(KNOWN)
    assert word(files) == "false"
    assert files.look(KNOWN)
    assert word(files) == "false"


def test_a_file_that_is_gone_keeps_its_veto(env: Path, opened: Callable[..., FlagFiles]) -> None:
    """Removing by hand and writing anew is a replacement with a hole in it."""
    files = opened()
    env.unlink()
    assert seen(files)
    assert (word(files), files.ok) == ("false", False)
    env.write_bytes(b"FEATURE_DEBATE_MODE=auto\n")
    assert seen(files)
    assert (word(files), files.ok) == ("auto", True)


def test_a_mounted_file_is_swapped_by_its_directory(tmp_path: Path) -> None:
    """The `..data` link of a ConfigMap moves; neither the file's link nor its name does."""
    for name, said in (("v1", "false"), ("v2", "true")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags.env").write_text(f"FEATURE_DEBATE_MODE={said}\n")
    data = tmp_path / "..data"
    data.symlink_to("v1")
    (tmp_path / "flags.env").symlink_to("..data/flags.env")
    files = FlagFiles(
        load({"DTRAG_HOME": str(tmp_path), "DTRAG_ENV_FILE": str(tmp_path / "flags.env")})
    )
    assert word(files) == "false"
    (tmp_path / "..data_tmp").symlink_to("v2")
    (tmp_path / "..data_tmp").replace(data)
    assert seen(files)
    assert word(files) == "true"


def test_a_veto_of_either_source_counts(env: Path, opened: Callable[..., FlagFiles]) -> None:
    """What a process was started with cannot be lifted by a file, nor the other way round."""
    assert word(opened(FEATURE_DEBATE_MODE="true")) == "false"
    replace(env, b"FEATURE_DEBATE_MODE=true\n")
    assert word(opened(FEATURE_DEBATE_MODE="false")) == "false"
    assert word(opened(FEATURE_DEBATE_MODE="auto")) == "true"


@pytest.mark.parametrize(
    ("content", "killed"),
    [
        (None, set()),
        (b"", set()),
        (
            b"\xef\xbb\xbfdebate_mode\r\nUSE_RERANKER # slow\n\n# none\n",
            {"debate_mode", "reranker"},
        ),
        (b"FEATURE_MCP_TOOLS", {"mcp_tools"}),
        (b"*\n", {"*"}),
        (b"\xff\xfe\x00", {"*"}),
    ],
)
def test_what_a_kill_file_kills(content: bytes | None, killed: set[str]) -> None:
    """One name a line; what nobody can read is meant seriously."""
    assert killed_by(content) == killed


def test_a_kill_file_counts_at_the_first_look(
    tmp_path: Path, opened: Callable[..., FlagFiles]
) -> None:
    """It does not wait until the file has settled, and its end is seen too."""
    files = opened()
    (tmp_path / "KILL").write_text("debate_mode\n")
    assert files.look(KNOWN)
    assert files.killed == {"debate_mode"}
    (tmp_path / "KILL").unlink()
    assert files.look(KNOWN)
    assert files.killed == frozenset()


def test_what_is_reported_is_the_newest(
    env: Path, tmp_path: Path, opened: Callable[..., FlagFiles]
) -> None:
    """One reading a file, with what it says of flags and nothing else."""
    files = opened()
    replace(env, b"SECRET_KEY=hidden\nUSE_RERANKER=yes\n")
    (tmp_path / "KILL").write_text("*\n")
    assert seen(files)
    said = {reading.source: dict(reading.content) for reading in files.unreported}
    assert said == {"envfile": {"reranker": "true"}, "killfile": {"*": "killed"}}
    assert files.unreported[0].changed_at == pytest.approx(env.stat().st_ctime)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose marks never move."""
    monkeypatch.setattr(sources, "_mark", lambda _path: (1, 2, 3, 4, 5))


@pytest.mark.usefixtures("still")
def test_a_content_without_a_mark_is_found_by_its_digest(
    env: Path, tmp_path: Path, opened: Callable[..., FlagFiles]
) -> None:
    """An env file when it was the same twice, a KILL file at once."""
    (tmp_path / "KILL").write_text("reranker")
    files = opened()
    env.write_bytes(VETO.replace(b"false", b"true"))
    (tmp_path / "KILL").write_text("mcp_tools")
    assert not seen(files)
    assert files.compare(KNOWN)
    assert (word(files), files.killed) == ("false", {"mcp_tools"})
    assert files.compare(KNOWN)
    assert word(files) == "true"
    assert not files.compare(KNOWN)


def test_a_fault_is_told_once_however_often_the_content_is_compared(
    env: Path, opened: Callable[..., FlagFiles]
) -> None:
    """A broken file is not another content each second."""
    files = opened()
    replace(env, b"broken")
    assert seen(files)
    assert (files.ok, files.fault) == (False, "flags.env line 1 is not KEY=VALUE.")
    assert not any(files.compare(KNOWN) for _ in range(3))
    replace(env, VETO)
    assert seen(files)
    assert (files.ok, files.fault) == (True, "")


def test_words_name_their_place(env: Path, opened: Callable[..., FlagFiles]) -> None:
    """A word that a restart alone can end names the process, another one its file."""
    for environment, place in (
        ({}, str(env)),
        ({"FEATURE_DEBATE_MODE": "true"}, str(env)),
        ({"FEATURE_DEBATE_MODE": "false"}, "at the start of the process"),
    ):
        files = opened(**environment)
        found = files.environment
        assert found.words["debate_mode"] == "false"
        assert place in found.places["debate_mode"]
        assert files.host in found.places["debate_mode"]


def test_a_kill_file_is_written_with_its_folder(tmp_path: Path) -> None:
    """A host whose service never started has none yet; what cannot be written is told."""
    home = tmp_path / "new" / "home"
    assert FlagFiles(load({"DTRAG_HOME": str(home)})).kill(["debate_mode"])
    assert killed_by((home / "KILL").read_bytes()) == {"debate_mode"}
    assert FlagFiles(load({"DTRAG_HOME": str(home)})).kill(["reranker"], "me: a\n*\u2028*\x85# b")
    assert killed_by((home / "KILL").read_bytes()) == {"debate_mode", "reranker"}
    assert "\nreranker  # me: a * * # b\n" in (home / "KILL").read_text(encoding="utf-8")
    (tmp_path / "file").touch()
    files = FlagFiles(load({"DTRAG_HOME": str(tmp_path / "file")}))
    assert not files.kill(["debate_mode"])
    assert files.killed == {"debate_mode"}
