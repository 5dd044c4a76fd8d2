"""Recall is weighed by rarity and blind to endings."""

from __future__ import annotations

from apps.core.text.overlap import Rarity, terms


def test_endings_and_particles_do_not_count() -> None:
    """Formal and plain speech have the same terms."""
    assert terms("조례를 발표했습니다") == terms("조례가 발표했다")


def test_recall_weighs_rare_terms_more() -> None:
    """Missing the word that every text has costs less than missing a rare one."""
    texts = [terms("city budget report"), terms("city office"), terms("city park")]
    wanted = Rarity.over(texts).wanted(terms("city budget"))
    assert wanted.recall(terms("budget")) > wanted.recall(terms("city"))
    assert wanted.recall(terms("city budget")) == 1.0
    assert wanted.recall(frozenset()) == 0.0


def test_nothing_wanted_is_never_found() -> None:
    """An empty claim has no support, and nothing is divided by zero."""
    assert Rarity.over([]).wanted(frozenset()).recall(terms("city")) == 0.0


def test_a_term_that_no_text_has_weighs_most() -> None:
    """Invented words are expensive."""
    rarity = Rarity.over([terms("red"), terms("blue")])
    assert rarity.weight("green") > rarity.weight("red") > 0
