"""Which requests meet a flag, and what becomes of them: in the canary and in the control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apps.core.domain.models import AnswerRequest, Hit, SearchQuery, SearchResult, Usage
from apps.core.errors import DtRagError, IndexNotReady, SystemFailure
from apps.core.flags.arms_outcome import Outcome, findings
from apps.core.flags.rollout import Split
from apps.orchestration.graph import compiled
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.state import AnswerState
from tests.core.flags.arms import PEPPER, half
from tests.fakes.answering import BUSAN, SEOUL, FakeIndex, FakeMemory, Stage, scripted
from tests.fakes.flags import WEIGHTS, FakeFlagStore, rolled_out, weighed

QUESTION = "서울의 인구는 몇 명인가?"
CANARY, CONTROL = "canary", "control"


class Scene(Stage):
    """A pipeline under a rollout, whose recorder only keeps what it is told."""

    def __init__(self, flags: FakeFlagStore | None = None, **more: Any) -> None:
        from apps.core.flags.arms import ArmRecorder

        self.flags = flags or rolled_out(half())
        self.ends: list[Outcome] = []
        models = more.pop("models", ())
        super().__init__(*models, flags=self.flags, killed=self._killed, **more)
        arms = ArmRecorder(self.clock, PEPPER, self.flags)
        arms.finish = self.ends.append  # type: ignore[method-assign]
        self.pipeline = replace(self.pipeline, arms=arms)

    def _killed(self, flag_key: str) -> bool:
        return self.flags.snapshot.is_killed(flag_key)

    def by(self, arm: str, **more: Any) -> AnswerRequest:
        """A question of a user of this arm."""
        for number in range(100):
            asked = AnswerRequest(QUESTION, user_id=f"u{number}", request_id="r", **more)
            if self.flags.evaluate_all(asked)["debate_mode"].arm == arm:
                return asked
        raise AssertionError(arm)


@pytest.mark.parametrize("arm", [CANARY, CONTROL])
async def test_both_arms_meet_the_flag_at_the_same_place(arm: str) -> None:
    """In the control the node is not in the graph, and its trigger is asked all the same."""
    scene = Scene()
    record = await scene.answer(scene.by(arm))
    (met,) = record.exposed
    assert (met.flag_key, met.arm, met.node, met.rollout) == (
        "debate_mode", arm, "debate_mode", "ro_1",
    )  # fmt: skip
    assert ("debate_mode" in record.nodes) == (arm == CANARY)
    assert record.decisions["debate_mode"].on == (arm == CANARY)
    assert [end.exposed for end in scene.ends] == [(met,)]


@pytest.mark.parametrize("arm", [CANARY, CONTROL])
async def test_who_does_not_reach_the_node_is_not_exposed(arm: str) -> None:
    """A greeting and a question without passages have no draft, in either arm."""
    for scene, question in ((Scene(), "안녕하세요"), (Scene(index=FakeIndex(())), QUESTION)):
        record = await scene.answer(replace(scene.by(arm), question=question))
        assert record.exposed == ()
        assert scene.ends == []


async def test_the_state_says_what_the_exposure_says() -> None:
    """Property 5 of the design: one value from the door to the statistics."""
    seen: list[tuple[bool, str | None]] = []

    def applies(state: AnswerState) -> bool:
        made = state["decisions"]["debate_mode"]
        seen.append((made.on, made.arm))
        return True

    nodes = tuple(
        replace(node, applies=applies) if node.name == "debate_mode" else node for node in PIPELINE
    )
    scene = Scene(nodes=nodes)
    for arm in (CANARY, CONTROL):
        (met,) = (await scene.answer(scene.by(arm))).exposed
        assert seen[-1] == (arm == CANARY, met.arm)


async def test_a_variant_weighs_the_legs_of_an_answer() -> None:
    """The number of a user's variant reaches the search, and the answer says which it was."""
    scene = Scene(weighed(), index=FakeIndex())
    seen = set()
    for number in range(12):
        # A question that was asked before would be answered from the cache, in no arm.
        question = f"{number}: {QUESTION}"
        asked = AnswerRequest(question, user_id=f"u{number}", request_id=f"r{number}")
        record = await scene.answer(asked)
        (met,) = record.exposed
        made = record.decisions["dense_weight"]
        assert (met.arm, met.node) == (made.variant, "retrieve")
        assert scene.index.asked[-1].dense_weight == made.value
        seen.add((met.arm, made.value))
    assert seen == set(WEIGHTS.items())


async def test_a_trigger_that_fails_costs_no_answer() -> None:
    """The flag counts as not met, in both arms."""

    def applies(state: AnswerState) -> bool:
        raise ZeroDivisionError("a mistake of ours")

    nodes = tuple(
        replace(node, applies=applies) if node.name == "debate_mode" else node for node in PIPELINE
    )
    scene = Scene(nodes=nodes)
    for arm in (CANARY, CONTROL):
        record = await scene.answer(scene.by(arm))
        assert (record.exposed, record.degraded) == ((), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"synthetic": True},
        {"overrides": {"debate_mode": True}},
        {"overrides": {"debate_mode": False}},
    ],
)
async def test_excluded_requests_are_in_no_arm(changed: dict[str, Any]) -> None:
    """Synthetic and overridden ones, on or off."""
    scene = Scene()
    for arm in (CANARY, CONTROL):
        record = await scene.answer(replace(scene.by(arm), **changed))
        assert record.exposed == ()
    assert scene.ends == []


async def test_an_answer_from_the_cache_is_in_no_arm_and_stays_in_its_own() -> None:
    """Each arm finds what it has made itself, and meets nothing then."""
    memory = FakeMemory()
    scene = Scene(memory=memory)
    for arm in (CANARY, CONTROL):
        first = await scene.answer(scene.by(arm))
        assert first.served_by != "cache"
        again = await scene.answer(scene.by(arm))
        assert (again.served_by, again.exposed) == ("cache", ())
        assert all(kept.exposed == () for kept in memory.kept.values())
    assert len(scene.ends) == 2


@pytest.mark.parametrize("arm", [CANARY, CONTROL])
async def test_a_kill_reaches_a_run_that_has_begun(arm: str) -> None:
    """The gate asks the newest snapshot: the node is skipped and named, and nobody is counted."""
    scene = Scene()
    asked = scene.by(arm)
    asked = replace(asked, decisions=scene.flags.evaluate_all(asked))
    scene.flags.snapshot = scene.flags.snapshot.changed(local_kill=frozenset({"debate_mode"}))
    record = await scene.answer(asked)
    assert record.degraded == (("debate_mode",) if arm == CANARY else ())
    assert "debate_mode" not in record.nodes
    assert record.exposed == ()
    plain = await Stage().answer(QUESTION)
    assert record.answer == plain.answer


async def test_a_failed_run_counts_for_what_it_had_met() -> None:
    """Only an error behind the node does; one before it met nothing."""
    scene = Scene(nodes=(*PIPELINE[:-1], replace(PIPELINE[-1], run=_failing)))
    for arm in (CANARY, CONTROL):
        with pytest.raises(DtRagError):
            await scene.answer(scene.by(arm))
    assert [(end.exposed[0].arm, end.error) for end in scene.ends] == [
        (CANARY, True), (CONTROL, True),
    ]  # fmt: skip
    early = Scene()
    early.index.failure = SystemFailure("away")
    with pytest.raises(DtRagError):
        await early.answer(early.by(CANARY))
    assert early.ends == []


async def test_running_out_of_time_is_an_error_and_a_fallback() -> None:
    """A run that its caller left says how long it was waited for, and nothing else."""
    scene = Scene(
        nodes=(*PIPELINE[:-1], replace(PIPELINE[-1], run=_hanging)), REQUEST_TIMEOUT_S="0.05"
    )
    with pytest.raises(DtRagError):
        await scene.answer(scene.by(CANARY))
    (end,) = scene.ends
    assert (end.error, end.fallback) == (True, True)
    reached = asyncio.Event()

    async def hanging(state: AnswerState, ctx: Any) -> Any:
        reached.set()
        return await _hanging(state, ctx)

    patient = Scene(nodes=(*PIPELINE[:-1], replace(PIPELINE[-1], run=hanging)))
    running = asyncio.create_task(patient.answer(patient.by(CANARY)))
    await reached.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (left,) = patient.ends
    assert (left.left, left.error, left.fallback, left.duration_ms) == (True, False, None, 0.0)


async def test_the_chain_is_measured_from_its_first_link() -> None:
    """Quoting is a fallback where a model should have answered."""
    scene = Scene(models=(scripted(SystemFailure("away")),))
    record = await scene.answer(scene.by(CONTROL))
    assert record.served_by == "extractive"
    assert scene.ends[0].fallback
    alone = Scene()
    await alone.answer(alone.by(CONTROL))
    assert alone.ends[0].fallback is False


@pytest.mark.parametrize(("fault", "degraded"), [("error:1", True), ("error:0", False)])
async def test_a_fault_on_purpose_is_the_nodes_own(fault: str, *, degraded: bool) -> None:
    """The canary's node fails and is skipped; the control never meets the fault."""
    scene = Scene(DTRAG_FAULTS=f"debate_mode={fault}")
    await scene.answer(scene.by(CANARY))
    await scene.answer(scene.by(CONTROL))
    assert [bool(end.skipped) for end in scene.ends] == [degraded, False]


async def test_a_slow_fault_keeps_to_the_nodes_time() -> None:
    """It waits inside of the node's own limit."""
    nodes = tuple(
        replace(node, timeout_s=0.01) if node.name == "debate_mode" else node for node in PIPELINE
    )
    scene = Scene(nodes=nodes, DTRAG_FAULTS="debate_mode=slow:30")
    assert (await scene.answer(scene.by(CANARY))).degraded == ("debate_mode",)


async def test_retrieval_flags_are_met_where_passages_are_found() -> None:
    """And decide how, unless the process's own options say the same."""
    flags = rolled_out(Split("hybrid_search", 100, id="ro_2", epoch=1, stage=0))
    scene = Scene(flags)
    record = await scene.answer(AnswerRequest(QUESTION, user_id="u", request_id="r"))
    assert [(met.flag_key, met.arm, met.node) for met in record.exposed] == [
        ("hybrid_search", CANARY, "retrieve")
    ]
    assert scene.index.asked[0].mode == "hybrid"


def reranking(percent: float) -> FakeFlagStore:
    """A rollout of the reranker."""
    return rolled_out(Split("reranker", percent, id="ro_r", epoch=1, stage=0))


@pytest.mark.parametrize(("percent", "arm"), [(100, CANARY), (0, CONTROL)])
@pytest.mark.parametrize(("hits", "is_met"), [((SEOUL, BUSAN), True), ((SEOUL,), False)])
async def test_a_reranker_is_met_where_passages_have_an_order(
    percent: float, arm: str, hits: tuple[Hit, ...], is_met: bool
) -> None:
    """In both arms; one passage is nothing to rank."""
    scene = Scene(reranking(percent), index=FakeIndex(hits))
    record = await scene.answer(AnswerRequest(QUESTION, user_id="u", request_id="r"))
    assert scene.index.asked[0].rerank is (arm == CANARY)
    assert [(met.arm, met.node) for met in record.exposed] == [(arm, "retrieve")] * is_met


async def test_a_reranker_that_fails_is_bad_for_its_flag() -> None:
    """The answer is given, and its arm has one bad request more; what it spent is counted."""
    scene = Scene(reranking(100))
    whole = scene.index.search
    scene.index.spent = spent = Usage(40, 2, llm_calls=1)

    async def without_reranker(query: SearchQuery) -> SearchResult:
        return (await whole(query))._replace(degraded=("rerank",))

    scene.index.search = without_reranker  # type: ignore[method-assign]
    record = await scene.answer(AnswerRequest(QUESTION, user_id="u", request_id="r"))
    assert (record.degraded, record.usage) == (("rerank",), spent)
    (end,) = scene.ends
    assert end.skipped == {"reranker"}
    assert findings(end, "reranker", {})["node_error"]


async def test_a_search_that_breaks_off_has_met_its_reranker() -> None:
    """Else the arm whose reranker is too slow would look the better one."""
    scene = Scene(reranking(100))
    scene.index.failure = IndexNotReady("gone")
    with pytest.raises(IndexNotReady):
        await scene.answer(AnswerRequest(QUESTION, user_id="u", request_id="r"))
    assert [(end.error, end.exposed[0].flag_key) for end in scene.ends] == [(True, "reranker")]


async def test_an_experiment_is_met_by_the_names_of_its_variants() -> None:
    """Arms are any names, on or off."""
    arms = {"on": 50, "off": 50}
    flags = rolled_out(Split("debate_mode", 100, id="ex", epoch=1, stage=0, arms=arms))
    scene = Scene(flags)
    for arm in ("on", "off"):
        (met,) = (await scene.answer(scene.by(arm))).exposed
        assert met.arm == arm


def test_without_arms_the_graph_is_the_plain_one() -> None:
    """A flag that is simply off adds not even a look."""
    plain = compiled(frozenset(), PIPELINE)
    assert compiled(frozenset(), PIPELINE, controls=frozenset()) is not None
    assert set(plain.get_graph().nodes) == {
        "__start__", "understand", "retrieve", "compose", "cite", "__end__",
    }  # fmt: skip


@pytest.mark.parametrize("arrange", [rolled_out, lambda: rolled_out(kill_all=True)])
async def test_all_flags_off_is_as_if_there_were_none(arrange: Callable[[], FakeFlagStore]) -> None:
    """The same bytes with flags that rows switch off as without any, but for why they are off."""
    from apps.api import render

    off, bare = Scene(arrange()), Stage(nodes=tuple(n for n in PIPELINE if n.flag is None))
    for streaming in (False, True):
        bodies = []
        for stage in (off, bare):
            told = await stage.told(AnswerRequest(QUESTION, user_id="u"), streaming=streaming)
            body = render.answer(told[-1].record)
            body["decision"]["flags"] = {}  # type: ignore[index]
            bodies.append((render.json_response(body).body, [type(each) for each in told]))
        assert bodies[0] == bodies[1]


async def _failing(state: AnswerState, ctx: Any) -> Any:
    raise SystemFailure("no")


async def _hanging(state: AnswerState, ctx: Any) -> Any:
    await asyncio.Event().wait()
