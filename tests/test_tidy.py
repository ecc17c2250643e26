"""The half of the style that a machine can check, run over the project's own files.

`tidy_rules` holds the rules and `tidy_syntax` what they look at. Here each rule is run over every file that
it is about, and also over a planted breach and over its repair, since a rule that finds nothing may only be
blind.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tidy_rules
from tests.tidy_rules import HOUSE_RULES, TEST_RULES, TEXT_RULES, Rule
from tests.tidy_syntax import Source

_ROOT = Path(__file__).resolve().parent.parent
_PATH = "/" + "tmp/x"

# A breach, the line where it must be found, and a repair in which nothing must be found.
_BREACHES: dict[Rule, tuple[str, int, str]] = {
    tidy_rules.module_has_docstring: (
        "a = 1\n",
        1,
        '"""Say it."""\n',
    ),
    tidy_rules.module_lists_its_names: (
        "def f(): ...\n",
        1,
        "__all__ = ['f']\ndef f(): ...\ndef _g(): ...\n@f.command()\ndef h(): ...\n",
    ),
    tidy_rules.functions_are_flat: (
        "class C:\n def f(self):\n  for a in b:\n   try: c\n   finally:\n    with d:\n     while e: f\n",
        2,
        "def f():\n if a: b\n elif c: d\n elif e: f\n elif g:\n  match h:\n   case 1:\n    with i: j\n",
    ),
    tidy_rules.public_things_have_docstrings: (
        "class _C:\n def f(self): ...\nclass D:\n 'Is.'\n def f(self): ...\n",
        5,
        "class D:\n 'Is.'\n def f(self):\n  'Do.'\n def __str__(self): ...\n",
    ),
    tidy_rules.dataclasses_are_slotted: (
        "@dataclass(frozen=True)\nclass C: ...\n",
        1,
        "@dataclass(frozen=True, slots=True)\nclass C: ...\n",
    ),
    tidy_rules.imports_are_absolute: (
        "from . import a\n",
        1,
        "from streamd.core import a\n",
    ),
    tidy_rules.names_say_something: (
        "class LockManager: ...\n",
        1,
        "from contextlib import contextmanager\nprocess = process_count = 1\ndef answer(): ...\n",
    ),
    tidy_rules.only_storage_opens_files: (
        "a = path.read_text()\n",
        1,
        "a = text.replace('a', 'b')\nself._store.open()\n",
    ),
    tidy_rules.only_config_reads_the_environment: (
        "import os\na = os.environ['A']\n",
        2,
        "import os\nos.environ['A'] = 'b'\n",
    ),
    tidy_rules.core_has_no_clock: (
        "a = datetime.now(UTC)\n",
        1,
        "a = datetime.fromtimestamp(now_ms / 1000, UTC)\n",
    ),
    tidy_rules.tasks_have_a_parent: (
        "asyncio.create_task(run())\n",
        1,
        "self._group.create_task(run())\nasyncio.run(run())\n",
    ),
    tidy_rules.catches_are_narrow: (
        "try: a\nexcept (ValueError, Exception): b\n",
        2,
        "try: a\nexcept ValueError: b\nexcept BaseException:\n c\n raise\n",
    ),
    tidy_rules.test_names_are_sentences: (
        "def test_it(): ...\n",
        1,
        "def test_an_old_token_is_refused(): ...\n",
    ),
    tidy_rules.tests_do_not_sleep: (
        "await asyncio.sleep(1)\n",
        1,
        "await asyncio.sleep(0)\n",
    ),
    tidy_rules.tests_use_the_real_thing: (
        "def test_it(monkeypatch): ...\n",
        1,
        "def test_it(tmp_path): ...\n",
    ),
    tidy_rules.module_is_short: (
        "\n" * 401,
        401,
        "\n" * 400,
    ),
    tidy_rules.functions_are_short: (
        "def f():\n 'Say it.'\n" + " a = 1\n" * 51,
        1,
        "def f():\n 'Say it.'\n" + " a = 1\n" * 50,
    ),
    tidy_rules.type_ignores_give_reasons: (
        "a = 1  # type: " + "ignore[x]\n",
        1,
        "a = 1  # type: " + "ignore[attr-defined]  # the stub lacks it\n",
    ),
    tidy_rules.texts_name_no_machine: (
        f"look at {_PATH}\n",
        1,
        f"https://example.com{_PATH}\nmount /tmp\n",
    ),
}


def _name(rule: Rule) -> str:
    return rule.__name__


def _texts() -> Iterator[Source]:
    """Read every text that is, or would be, in the repository; a tree without one is read by its folders."""
    command = ["git", "-C", str(_ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, check=False)
    if listing.returncode == 0:
        paths = [_ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        folders = [_ROOT / name for name in ("streamd", "tests", "benchmarks")]
        paths = [path for folder in folders for path in folder.rglob("*.py")]
    for path in sorted(path for path in paths if path.is_file()):
        data = path.read_bytes()
        if b"\0" not in data:
            yield Source(path.relative_to(_ROOT).as_posix(), data.decode(errors="replace"))


def _python_below(*folders: str) -> list[Source]:
    return [source for source in _texts() if source.path.endswith(".py") and source.is_in(folders)]


def _report(rule: Rule, sources: list[Source]) -> str:
    return "\n".join(str(finding) for source in sources for finding in rule(source))


@pytest.mark.parametrize("rule", HOUSE_RULES, ids=_name)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    sources = _python_below("streamd")

    report = _report(rule, sources)

    assert sources
    assert not report, f"\n{report}"


@pytest.mark.parametrize("rule", TEST_RULES, ids=_name)
def test_the_tests_keep_the_rule(rule: Rule) -> None:
    sources = _python_below("tests", "benchmarks")

    report = _report(rule, sources)

    assert sources
    assert not report, f"\n{report}"


@pytest.mark.parametrize("rule", TEXT_RULES, ids=_name)
def test_every_text_keeps_the_rule(rule: Rule) -> None:
    sources = list(_texts())

    report = _report(rule, sources)

    assert sources
    assert not report, f"\n{report}"


@pytest.mark.parametrize("rule", [*HOUSE_RULES, *TEST_RULES, *TEXT_RULES], ids=_name)
def test_a_rule_finds_its_breach_and_accepts_its_repair(rule: Rule) -> None:
    breach, line, repair = _BREACHES[rule]

    found = list(rule(Source("streamd/core/planted.py", breach)))
    left = list(rule(Source("streamd/core/planted.py", repair)))

    assert [finding.line for finding in found] == [line]
    assert not left


def test_an_exception_that_is_no_longer_needed_is_removed() -> None:
    sources = _python_below("streamd")
    catchers = {source.path for source in sources if list(tidy_rules.broad_catches(source))}
    places = [*tidy_rules.FILE_OPENERS, *tidy_rules.ENVIRONMENT_READERS, *tidy_rules.BROAD_CATCHES]

    missing = [place for place in places if not (_ROOT / place).exists()]
    narrow = sorted(set(tidy_rules.BROAD_CATCHES) - catchers)

    assert not missing, f"tests/tidy_rules.py names what is not there: {missing}"
    assert not narrow, f"tests/tidy_rules.py allows a broad catch where there is none: {narrow}"


def test_every_module_of_the_house_has_its_layer() -> None:
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    contracts = {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}
    layers = contracts["layers"]

    listed = {name.strip(" ()") for layer in layers["layers"] for name in re.split(r"[|:]", layer)}
    present = {Path(source.path).parts[1].removesuffix(".py") for source in _python_below("streamd")}

    assert layers["exhaustive"] is True
    assert layers["containers"] == ["streamd"]
    assert present - listed == {"__init__"}, "give each new module or room its layer in pyproject.toml"
    assert not listed - present, "pyproject.toml gives a layer to what is not there"
