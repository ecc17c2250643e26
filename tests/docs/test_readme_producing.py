"""README's producer, run as it stands against a daemon of its own."""

import subprocess
import sys
from pathlib import Path

from streamd.core.limits import PUT_MEMORY_COUNT, PUT_MEMORY_MS
from streamd.core.put_tokens import PRODUCER_HEADER, SEQUENCE_HEADER
from tests.conftest import DaemonFactory

__all__: list[str] = []

_ROOT = Path(__file__).parents[2]
_SECTION = (_ROOT / "README.md").read_text().split("\n## Producing\n", 1)[1].split("\n## ", 1)[0]


def test_the_producer_does_what_is_written(daemon_factory: DaemonFactory) -> None:
    url = daemon_factory().url
    program = _SECTION.split("```python\n", 1)[1].split("```", 1)[0].replace("http://127.0.0.1:4567", url)

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=_ROOT)

    assert ended.stderr == ""
    assert ended.stdout.splitlines()[0].startswith("the first is in shardId-00000000000")
    assert ended.stdout.splitlines()[1] == "1000 records"


def test_the_extension_is_described_with_its_true_names_and_bounds() -> None:
    assert f"`{PRODUCER_HEADER}`" in _SECTION
    assert f"`{SEQUENCE_HEADER}`" in _SECTION
    assert f"the last {PUT_MEMORY_COUNT} numbers" in _SECTION
    assert f"for {PUT_MEMORY_MS // 60_000} minutes" in _SECTION
