"""A version gets its name when it is whole, and `latest` never names nothing."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.artifacts import versions

NOON = 1_700_000_000.0


def _made(root: Path, now: float) -> str:
    name = versions.finish(root, versions.start(root, versions.next_version(root, now)))
    versions.switch(root, name)
    return name


def test_names_grow_when_the_clock_does_not(tmp_path: Path) -> None:
    """Two versions of one second, and one after the clock went back, keep their order."""
    names = [_made(tmp_path, now) for now in (NOON, NOON, NOON - 100, NOON + 5)]
    assert names == ["20231114_221320", "20231114_221320-1", "20231114_221320-2", "20231114_221325"]
    assert versions.versions(tmp_path) == names
    assert versions.latest(tmp_path) == names[-1]


def test_ten_versions_of_a_second_are_in_order() -> None:
    """Numbers are compared as numbers."""
    assert versions.order("20231114_221320-9") < versions.order("20231114_221320-10")


def test_nothing_published_is_no_version(tmp_path: Path) -> None:
    """Neither a missing root nor an empty one has a version."""
    assert versions.latest(tmp_path) is None
    assert versions.versions(tmp_path / "absent") == []


def test_partial_directories_mean_nothing_and_are_swept(tmp_path: Path) -> None:
    """What a killed builder left is not a version, and the next builder removes it."""
    left = versions.start(tmp_path, "20200101_000000")
    (left / "half").write_text("x")
    assert versions.versions(tmp_path) == []
    versions.start(tmp_path, "20200101_000001")
    assert not left.exists()


def test_pruning_keeps_the_newest_and_the_served(tmp_path: Path) -> None:
    """A rolled back version is served and so it stays, however old."""
    names = [_made(tmp_path, NOON + second) for second in range(6)]
    versions.switch(tmp_path, names[0])
    assert versions.prune(tmp_path, keep=3) == names[1:3]
    assert versions.versions(tmp_path) == [names[0], *names[3:]]


def test_readers_always_see_a_version(tmp_path: Path) -> None:
    """During 500 switches no look at `latest` fails."""
    names = [_made(tmp_path, NOON + second) for second in range(2)]
    reader = multiprocessing.get_context("spawn").Process(
        target=_switch_often, args=(tmp_path, names)
    )
    reader.start()
    seen = set()
    while reader.is_alive():
        seen.add(versions.latest(tmp_path))
    reader.join()
    assert seen == set(names)


def _switch_often(root: Path, names: list[str]) -> None:
    for turn in range(500):
        versions.switch(root, names[turn % 2])


@settings(max_examples=15)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_each_version_is_later_than_all_before(steps: list[int]) -> None:
    """Whatever the clock does, names are strictly increasing."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        names = [versions.order(_made(root, NOON + step)) for step in steps]
    assert names == sorted(set(names))


def test_the_lock_is_held_against_other_processes(tmp_path: Path) -> None:
    """A second process waits until the first is done."""
    import fcntl

    with versions.exclusive(tmp_path):
        descriptor = os.open(tmp_path / ".lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        else:
            held = False
        finally:
            os.close(descriptor)
    assert held
