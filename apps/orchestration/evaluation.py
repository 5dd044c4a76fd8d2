"""How good answers are, on questions whose answers are known (`dtrag eval answers`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from apps.core.domain.models import AnswerRecord, AnswerRequest, Citation, SearchQuery
from apps.core.domain.ports import Clock, Searcher
from apps.core.text.gold import GoldQuestion
from apps.core.text.names import squeeze
from apps.core.text.numbers import holds, quantities, values
from apps.orchestration.claims import MARK

Answer = Callable[[AnswerRequest], Awaitable[AnswerRecord]]


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What was measured; a share is None when there was nothing to measure it on.

    contains_gold: of the answerable questions with a gold passage in the top five
        (`contains_gold_n`), how many answers hold a right string; an abstention holds none.
    quote_contains_gold: of those that were answered (`quote_n`), how many quotes do.
    abstention_precision, abstention_recall: abstaining on an unanswerable question is right.
    unsupported_numbers: numbers of answers that their quotes lack.
    citations_broken: marks without citation, and quotes that differ from the text at their span.
    """

    n: int
    answered: int
    contains_gold: float | None
    contains_gold_n: int
    quote_contains_gold: float | None
    quote_n: int
    abstention_precision: float | None
    abstention_recall: float | None
    unsupported_numbers: int
    citations_broken: int
    latency_ms: float | None

    def as_json(self) -> dict[str, float | int | None]:
        """The stable keys of the machine-readable output."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Outcome:
    gold: GoldQuestion
    record: AnswerRecord
    reachable: bool
    latency_ms: float

    @property
    def answered(self) -> bool:
        return not self.record.abstained

    @property
    def in_answer(self) -> bool:
        return self.answered and contains(self.record.answer, self.gold.answers)

    @property
    def in_quote(self) -> bool:
        return any(contains(one.quote, self.gold.answers) for one in self.record.citations)


async def evaluate_answers(
    questions: Sequence[GoldQuestion],
    *,
    search: Searcher,
    answer: Answer,
    clock: Clock,
    top_k: int = 5,
) -> AnswerReport:
    """Ask every question, one after another, through the whole pipeline.

    Args:
        questions: with their gold.
        search: over the index that `answer` uses; says whether a gold passage is in the top five.
        answer: the pipeline.
        clock: times each answer.
        top_k: passages that are offered to the answerer.
    """
    outcomes = [await _ask(gold, search, answer, clock, top_k=top_k) for gold in questions]
    return _report(outcomes)


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether `text` holds any of `answers`; case, white space and punctuation do not count."""
    flat, _ = squeeze(text)
    wanted = (squeeze(answer)[0] for answer in answers)
    return any(one and one in flat for one in wanted)


def broken_citations(record: AnswerRecord) -> int:
    """Count marks without a citation, and citations whose quote is not the text at their span."""
    known = {one.index for one in record.citations}
    loose = sum(int(mark) not in known for mark in MARK.findall(record.answer))
    return loose + sum(not _is_exact(one, record) for one in record.citations)


def unsupported_numbers(record: AnswerRecord) -> int:
    """Count the numbers of an answer that none of its quotes holds."""
    known = values("\n".join(one.quote for one in record.citations))
    said = quantities(MARK.sub(" ", record.answer)) if not record.abstained else []
    return sum(not holds(number, known) for number in said)


async def _ask(
    gold: GoldQuestion, search: Searcher, answer: Answer, clock: Clock, *, top_k: int
) -> _Outcome:
    found = await search.search(SearchQuery(gold.question, top_k=5))
    ids = {one for hit in found.hits for one in (hit.passage.chunk_id, hit.passage.doc_id)}
    started = clock.monotonic()
    record = await answer(AnswerRequest(gold.question, top_k=top_k))
    return _Outcome(gold, record, bool(ids & gold.gold), 1000 * (clock.monotonic() - started))


def _report(outcomes: Sequence[_Outcome]) -> AnswerReport:
    reachable = [one for one in outcomes if one.gold.answerable and one.reachable]
    replied = [one for one in reachable if one.answered]
    abstained = [one for one in outcomes if not one.answered]
    unanswerable = [one for one in outcomes if not one.gold.answerable]
    return AnswerReport(
        n=len(outcomes),
        answered=len(outcomes) - len(abstained),
        contains_gold=_share([one.in_answer for one in reachable]),
        contains_gold_n=len(reachable),
        quote_contains_gold=_share([one.in_quote for one in replied]),
        quote_n=len(replied),
        abstention_precision=_share([not one.gold.answerable for one in abstained]),
        abstention_recall=_share([not one.answered for one in unanswerable]),
        unsupported_numbers=sum(unsupported_numbers(one.record) for one in outcomes),
        citations_broken=sum(broken_citations(one.record) for one in outcomes),
        latency_ms=median(one.latency_ms for one in outcomes) if outcomes else None,
    )


def _share(marks: Sequence[bool]) -> float | None:
    return sum(marks) / len(marks) if marks else None


def _is_exact(citation: Citation, record: AnswerRecord) -> bool:
    start, end = citation.span
    for hit in record.hits:
        passage = hit.passage
        if passage.chunk_id == citation.chunk_id:
            local = slice(start - passage.start, end - passage.start)
            return passage.start <= start < end and passage.text[local] == citation.quote
    return False
