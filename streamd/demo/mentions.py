"""Mentions: which of the names asked for does a text mention.

A name is mentioned where it stands as a whole word in any case: ``Lyra`` is in "LYRA!", "@lyra", "#Lyra" and
"Lyra's", not in "Lyrabird" or "lyra_fan". A name of several words also counts when any white space parts
them, and as a handle or tag, where no space can be: ``Kestrel Air`` is in "@KestrelAir" and "#kestrel_air".
Text and names are compared as Unicode compares text without case, however their accents are composed.

Scripts that put no space between words are matched by the same rule: a name runs into the letters beside it
unless punctuation, a space, or the end stands there. Finding words in them needs a dictionary, and a wrong
guess would be a wrong count.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from streamd.demo.failures import NameUnusable

__all__ = ["MentionFinder", "fold"]

_SIGNS: Final = "@#"


@dataclass(frozen=True, slots=True)
class _Form:
    """One spelling of a name; ``signed`` when it counts only behind an @ or #."""

    text: str
    signed: bool


def fold(text: str) -> str:
    """Fold away case and the composition of accents, so that equal words become equal strings."""
    # Folding can take a composed letter apart, and then only composing again makes both spellings equal.
    # Nearly every text is ASCII, for which neither step changes anything but case.
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


class MentionFinder:
    """Finds the names that texts mention; a value without state, so that all consumers share one."""

    __slots__ = ("_forms", "_has_phrases", "names")

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names to look for, in any case, with or without a leading @ or #.

        Raises NameUnusable if a name has no letter or digit, or equals another one, or if there is none.
        """
        forms: list[tuple[str, _Form]] = []
        words_seen: set[tuple[str, ...]] = set()
        name_list: list[str] = []
        for given in names:
            name = " ".join(given.split()).lstrip(_SIGNS).strip()
            words = tuple(fold(name).split())
            if not any(character.isalnum() for character in name):
                raise NameUnusable(f"nothing can mention the name {given!r}: it has no letter or digit")
            if words in words_seen:
                raise NameUnusable(f"the name {given!r} is asked for twice")
            words_seen.add(words)
            name_list.append(name)
            forms += [(name, form) for form in _forms_of(words)]
        if not name_list:
            raise NameUnusable("give at least one name to look for")
        self.names: Final = tuple(name_list)
        self._forms = tuple(forms)
        self._has_phrases = any(len(words) > 1 for words in words_seen)

    def find(self, text: str) -> list[str]:
        """Tell which names the text mentions, each once, in the order they were asked for."""
        folded = fold(text)
        if self._has_phrases:
            folded = " ".join(folded.split())
        found: list[str] = []
        for name, form in self._forms:
            # Nearly every text ends here: the rest runs only where the letters are there.
            if form.text in folded and name not in found and _stands_alone(form, folded):
                found.append(name)
        return found


def _forms_of(words: Sequence[str]) -> tuple[_Form, ...]:
    """List the spellings of a name: its words, and as a handle or tag when it has several."""
    plain = _Form(" ".join(words), signed=False)
    if len(words) == 1:
        return (plain,)
    return (plain, _Form("".join(words), signed=True), _Form("_".join(words), signed=True))


def _stands_alone(form: _Form, folded: str) -> bool:
    """Tell whether the form is somewhere in the text without a letter, digit or mark against its ends."""
    length = len(form.text)
    start = folded.find(form.text)
    while start >= 0:
        before, after = (
            folded[start - 1 : start] if start else "",
            folded[start + length : start + length + 1],
        )
        if _is_edge(after) and (before in _SIGNS and before != "" if form.signed else _is_edge(before)):
            return True
        start = folded.find(form.text, start + 1)
    return False


def _is_edge(neighbour: str) -> bool:
    """Tell whether a word can end beside this character; no character at all is the end of the text."""
    if not neighbour:
        return True
    # A combining mark (the vowel signs of many scripts are such) belongs to the word, though it is no letter.
    return not (neighbour.isalnum() or neighbour == "_" or unicodedata.category(neighbour).startswith("M"))
