"""The operators' page on flags, typed block by block against a service of its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.core.flags.catalogue import CATALOGUE
from apps.core.flags.searching import DENSE_WEIGHT
from apps.orchestration.choosing import ANSWER_PROMPT, CHAT_MODEL, WORDINGS
from tests.flows.service import Service, running

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {each: (DOCS / f"flags.{each}.md").read_text("utf-8") for each in ("en", "ko")}
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", PAGES["en"], re.S)
REFUSED = "# refused"
# What a reader must see in the output of the block that holds the words.
SEEN = {
    REFUSED: r"FEATURE_DEBATE_MODE=false",
    "rollout plan": r"canary share 0\.05.*after 29226 requests",
    "rollout simulate": r"rolled_back_share",
    "rollout create": r"is a draft.*RUNNING at 5 %",
    "status debate_mode --watch": r"RUNNING  5 %.*combined.*next: ",
    "rollout promote": r"HELD at 5 %.*RUNNING at 5 %.*RUNNING at 25 %",
    "rollout rollback": r"ROLLED_BACK at 0 %\n2 of 2 workers switched",
    "flags kill debate_mode": r"killed.*debate_mode.*2 of 2 workers switched in",
    "rollout trigger": r"is to be rolled back",
    "kill?wait=1": r'"acked":2,"expected":2',
    "--salt s2": r"RUNNING at 5 %",
    "flags explain debate_mode": r"ROLLOUT ←.*debate_mode = ",
    "reranker=12.5%": r"reranker is 12\.5 %.*reranker is off",
    "X-DTRAG-Flags:": r"debate_mode=off",
    "pilot.json": r"meta_planner = True \(TARGETING_MATCH, TARGETING\)",
    "rollout evidence": r"from its counts",
    "experiment show": r"RUNNING.*quality: undecided.*light against heavy.*STOPPED",
    "prompts.json": r"answer_prompt.*DRAFT",
    "flags audit": r"goal of the quarter|the owner decided|repaired.*The chain holds",
    "/ofrep/": r'"value":true,"variant":"on"',
    "import asyncio": r"True",
}


def typed(service: Service, language: str, block: str, where: Path) -> str:
    """Run a block as a reader would, against this test's own service; returns all output."""
    here = block.replace("localhost:8000", f"localhost:{service.port}")
    # A reader at a terminal ends it with Ctrl-C; here the pipe ends with the first picture.
    watched = r"set +o pipefail; NO_COLOR=1 FORCE_COLOR=1 \1 | sed '/next: /q'"
    here = re.sub(r"(dtrag .* --watch)", watched, here)
    command = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else ["python", "-c"]
    done = subprocess.run(
        [*command, here],
        cwd=where,
        env={**service.env, "DTRAG_KEY": service.key, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    expected = 1 if REFUSED in block else 0
    assert done.returncode == expected, (here, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers in the first week: the file forbids the flag."""
    home = tmp_path_factory.mktemp("flags")
    env_file = home / "service.env"
    env_file.write_text("FEATURE_DEBATE_MODE=false\n")
    env = {
        "DTRAG_ENV_FILE": str(env_file),
        "DTRAG_EMBEDDER": "none",
        "WORKER_PROCESSES": "2",
        "COLUMNS": "160",
    }
    with running(home, command="quickstart", env=env) as started:
        yield started
        assert started.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "block"), BLOCKS, ids=[block.split("\n")[0][:50] for _, block in BLOCKS]
)
def test_what_the_page_says_can_be_typed(
    language: str, block: str, service: Service, tmp_path: Path
) -> None:
    """In the order of the page, each block ends as it says and shows what its reader expects."""
    output = typed(service, language, block, tmp_path)
    for words, pattern in SEEN.items():
        if words in block:
            assert re.search(pattern, output, re.S), output


def test_every_expectation_belongs_to_a_block() -> None:
    """A pattern whose command has left the page would expect nothing."""
    assert [words for words in SEEN if not any(words in block for _, block in BLOCKS)] == []


def test_both_languages_show_the_same_commands() -> None:
    """So that what is typed here holds for both."""
    blocks = {name: re.findall(r"```(\w+)\n(.*?)```", page, re.S) for name, page in PAGES.items()}
    assert blocks["en"] == blocks["ko"]
    headings = {name: re.findall(r"^(#+) ", page, re.M) for name, page in PAGES.items()}
    assert headings["en"] == headings["ko"]


def test_the_list_names_every_flag() -> None:
    """One row for each flag of the code, in its order, then those that have values."""
    page = (DOCS / "flags.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \|", page, re.M)
    assert rows == [*(flag.key for flag in CATALOGUE), DENSE_WEIGHT, ANSWER_PROMPT, CHAT_MODEL]
    (words,) = re.findall(rf"`{ANSWER_PROMPT}` \| (.*?) \|", page)
    assert words == ", ".join(f"`{word}`" for word in sorted(WORDINGS))
