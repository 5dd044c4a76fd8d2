"""Other words for the same thing are looked for too, and count a little less."""

from __future__ import annotations

import pytest

from apps.core.text.overlap import LIKE, Rarity, of_stems, terms
from apps.core.text.subjects import Said
from apps.core.text.thesaurus import alike, instead
from apps.core.text.tokens import normal, stem, stems


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("만들어요", "생성"),
        ("만드는데", "발급"),
        ("올려요", "업로드"),
        ("잃어버렸어요", "분실"),
        ("비용", "수수료"),
        ("lose", "lost"),
        ("uploads", "add"),
        ("fridge", "refrigerator"),
    ],
)
def test_everyday_words(word: str, other: str) -> None:
    """Verbs are known by how they begin, English words by their stem."""
    assert stem(other) in {found for _, found in alike(stem(word))}


def test_groups_do_not_flow_into_each_other() -> None:
    """What is made may be issued or generated; to issue is not to generate."""
    assert "생성" not in {found for _, found in alike("발급")}


def test_a_noun_that_begins_like_a_verb_is_no_verb() -> None:
    """ "나이테" begins as "나이" does."""
    assert list(alike("나이테")) == []


def test_another_word_counts_nearly_as_much() -> None:
    """Where a text has the word itself, the other word adds nothing."""
    word = instead("분실")
    assert word is not None
    wanted = Rarity.over([]).wanted(of_stems(["분실"]), [word])
    assert wanted.recall(terms("잃어버리면 알린다")) == LIKE
    assert wanted.recall(terms("분실하거나 잃어버리면")) == 1.0
    assert wanted.recall(terms("책을 빌린다")) == 0.0


def test_a_text_means_what_it_says_in_another_word() -> None:
    """Subjects may be spoken of in another word."""
    text = "카드를 잃어버리면 알린다"
    said = Said(frozenset(stems(text)), normal(text))
    assert said.holds("분실") == 0.0
    assert said.means("분실") == LIKE
    assert said.means("카드") == 1.0
    assert said.means("수영장") == 0.0


def test_a_noun_of_one_syllable_is_known_with_any_particle() -> None:
    """The stemmer leaves "키를" whole."""
    word = instead("키를")
    assert word is not None
    wanted = Rarity.over([]).wanted(of_stems(["키를"]), [word])
    assert wanted.recall(terms("키는 서버에 있다")) == LIKE
    assert wanted.recall(terms("키보드")) == 0.0
    assert instead("국가") is None
