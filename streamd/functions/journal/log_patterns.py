"""Filter patterns of CloudWatch Logs over plain text: terms that must all be there, some of them, or none of.

Refused are patterns over JSON (``{ $.x = … }``), over columns (``[a, b]``) and regular expressions (``%…%``).
"""

import re
from dataclasses import dataclass

__all__ = ["Pattern"]

_TERM = re.compile(r'([-?]?)("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True, slots=True)
class Pattern:
    """All of ``wanted``, none of ``unwanted``, and one at least of ``any_of`` where it names some."""

    wanted: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern; an empty one takes everything. Raises ValueError for one that is refused."""
        if text.strip()[:1] in {"{", "[", "%"}:
            raise ValueError("Patterns over JSON, over columns and with regular expressions are not supported.")
        terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
        for sign, term in _TERM.findall(text):
            is_quoted = term.startswith('"') and term.endswith('"') and len(term) > 1
            terms[sign].append(re.sub(r"\\(.)", r"\1", term[1:-1]) if is_quoted else term)
        return cls(tuple(terms[""]), tuple(terms["?"]), tuple(terms["-"]))

    def takes(self, text: str) -> bool:
        """Whether a text is wanted. Upper and lower case differ."""
        return (
            all(term in text for term in self.wanted)
            and (not self.any_of or any(term in text for term in self.any_of))
            and not any(term in text for term in self.unwanted)
        )
