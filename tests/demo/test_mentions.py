"""Which names a text mentions."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.demo.failures import NameUnusable
from streamd.demo.generator import near_misses_of, spellings_of
from streamd.demo.mentions import MentionFinder, fold
from streamd.demo.phrases import DEFAULT_NAMES

__all__: list[str] = []

# Few letters, so that names and near misses of them really occur: case, accents composed and not, marks, signs.
_LETTERS = "abAB éÉ\u0301ßS1_@#-.'\n\u093fन"
_TEXTS = st.text(_LETTERS, max_size=30)
_NAMES = st.sampled_from(["a", "ab", "é", "ss", "B1", "ab a", "a é b", "न"])


def _model(name: str, text: str) -> bool:
    """Cut the text into words and signs, and look for the name's words among them one after another."""
    words, tokens = _tokens_of(name), _tokens_of(text)
    starts = range(len(tokens) - len(words) + 1)
    if any(tokens[start : start + len(words)] == words for start in starts):
        return True
    return len(words) > 1 and bool({"".join(words), "_".join(words)} & set(_signed_words_of(text)))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _is_in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _tokens_of(text: str) -> list[str]:
    spaced = (c if _is_in_word(c) or c.isspace() else f" {c} " for c in _fold(text))
    return "".join(spaced).split()


def _signed_words_of(text: str) -> list[str]:
    """List the words that touch an @ or # before them."""
    return [_tokens_of(part)[0] for part in re.split("[@#]", _fold(text))[1:] if part and _is_in_word(part[0])]


@given(name=_NAMES, text=_TEXTS)
def test_a_name_is_found_exactly_where_a_plain_model_finds_it(name: str, text: str) -> None:
    finder = MentionFinder([name])

    found = finder.find(text)

    assert found == ([name] if _model(name, text) else [])


@given(before=_TEXTS, name=st.sampled_from(DEFAULT_NAMES), after=_TEXTS)
def test_a_name_between_spaces_is_always_found(before: str, name: str, after: str) -> None:
    finder = MentionFinder(DEFAULT_NAMES)

    found = finder.find(f"{before} {name} {after}")

    assert name in found


@pytest.mark.parametrize("name", DEFAULT_NAMES)
def test_every_spelling_of_a_name_counts_and_no_near_miss_does(name: str) -> None:
    finder = MentionFinder([name])

    spellings = [finder.find(f"so {spelling}, again") for spelling in spellings_of(name)]
    near_misses = [finder.find(f"so {near_miss}, again") for near_miss in near_misses_of(name)]

    assert all(found == [name] for found in spellings)
    assert not any(near_misses)


@pytest.mark.parametrize(
    "text",
    ["Lyra", "LYRA!", "(lyra)", "@lyra", "#Lyra", "Lyra's", "hello\nlyra\n", "RT @Lyra: hi", "lyra-like"],
)
def test_a_whole_word_counts_in_any_case_and_behind_a_sign(text: str) -> None:
    finder = MentionFinder(["Lyra"])

    found = finder.find(text)

    assert found == ["Lyra"]


@pytest.mark.parametrize("text", ["Lyrabird", "lyra_fan", "xLyra", "Lyra2", "#LyraBird", "lyr a", "Lyra\u0301", ""])
def test_a_part_of_another_word_does_not_count(text: str) -> None:
    finder = MentionFinder(["Lyra"])

    found = finder.find(text)

    assert found == []


@pytest.mark.parametrize(
    ("text", "is_mention"),
    [
        ("flying Kestrel\n  Air today", True),
        ("@KestrelAir help", True),
        ("#kestrel_air", True),
        ("kestrelair without a sign", False),
        ("#KestrelAirlines", False),
        ("Kestrel and Air", False),
    ],
)
def test_a_name_of_two_words_counts_apart_and_joined_behind_a_sign(text: str, *, is_mention: bool) -> None:
    finder = MentionFinder(["Kestrel Air"])

    found = finder.find(text)

    assert bool(found) is is_mention


@pytest.mark.parametrize("text", ["Cafe\u0301 Ondine", "CAFÉ ONDINE", "café ondine", "CAFE\u0301 ONDINE"])
def test_an_accent_counts_however_it_is_composed(text: str) -> None:
    finder = MentionFinder(["Café Ondine"])

    found = finder.find(text)

    assert found == ["Café Ondine"]


def test_a_name_inside_a_longer_one_counts_for_both() -> None:
    finder = MentionFinder(["Lyra", "Lyra Labs"])

    found = finder.find("at Lyra Labs, with lyra")

    assert found == ["Lyra", "Lyra Labs"]


def test_a_name_may_be_given_with_its_sign() -> None:
    finder = MentionFinder(["@Lyra", "#nordvale"])

    assert finder.names == ("Lyra", "nordvale")


@pytest.mark.parametrize("names", [[], [""], ["@"], ["!?"], ["Lyra", "lyra"], ["Kestrel Air", "kestrel  AIR"]])
def test_a_name_that_cannot_be_counted_is_refused(names: list[str]) -> None:
    with pytest.raises(NameUnusable):
        MentionFinder(names)


@given(text=st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    folded = fold(text)

    assert fold(folded) == folded
