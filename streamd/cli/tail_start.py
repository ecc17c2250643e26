"""Where a reader begins: the words, times and numbers that ``streamd tail --from`` takes."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import click

from streamd.sdk.client import IteratorType

__all__ = ["HORIZON", "LATEST", "Start", "StartParameter", "parse_start"]

_WORD_FORMS: Final = "horizon, latest, -10m, 2026-01-01T00:00:00Z or a sequence number"
_MS_BY_UNIT: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"-(\d{1,9})([smhd])", re.ASCII)
_SEQUENCE_NUMBER: Final = re.compile(r"0|[1-9]\d{0,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Start:
    """A place to begin, as GetShardIterator takes it."""

    iterator_type: IteratorType
    timestamp_ms: int | None = None
    sequence_number: str | None = None


HORIZON: Final = Start("TRIM_HORIZON")
LATEST: Final = Start("LATEST")


class StartParameter(click.ParamType[Start]):
    """The value of ``--from``."""

    name = "start"

    def convert(self, value: str | Start, param: click.Parameter | None, ctx: click.Context | None) -> Start:
        """Read a start, or fail with the forms there are."""
        if isinstance(value, Start):
            return value
        start = parse_start(value, now_ms=time.time_ns() // 1_000_000)
        if start is None:
            self.fail(f"{value!r} is no start: give {_WORD_FORMS}.", param, ctx)
        return start


def parse_start(text: str, *, now_ms: int) -> Start | None:
    """Read a start; None when the text is none. A time without a zone is UTC, as everything printed is."""
    if text == "horizon":
        return HORIZON
    if text in {"latest", "now"}:
        return LATEST
    if ago := _AGO.fullmatch(text):
        age_ms = int(ago[1]) * _MS_BY_UNIT[ago[2]]
        return Start("AT_TIMESTAMP", timestamp_ms=max(0, now_ms - age_ms))
    if _SEQUENCE_NUMBER.fullmatch(text):
        return Start("AT_SEQUENCE_NUMBER", sequence_number=text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Start("AT_TIMESTAMP", timestamp_ms=max(0, round(moment.timestamp() * 1000)))
