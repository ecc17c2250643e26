"""What the SDK loads: aiohttp and orjson are enough, and nothing of the server comes along."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import streamd.sdk

# aiohttp's own needs, and pybase64, which is used where it is and not needed.
_ALLOWED = {
    "aiohappyeyeballs",
    "aiohttp",
    "aiosignal",
    "attr",
    "brotli",
    "cython_runtime",
    "frozenlist",
    "idna",
    "multidict",
    "orjson",
    "propcache",
    "streamd",
    "typing_extensions",
    "yarl",
}
_LIST_LOADED = """
import importlib, json, sys
hidden = set(json.loads(sys.argv[2]))

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ImportError(name)

sys.meta_path.insert(0, Hide())
before = set(sys.modules)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
# What stands in for a server in users' tests is one.
_NAMES = {found.name for found in pkgutil.iter_modules(streamd.sdk.__path__)} - {"testing"}
_MODULES = [f"streamd.sdk.{name}" for name in sorted(_NAMES)]


def loaded(modules: list[str], *, hidden: list[str]) -> set[str]:
    command = [sys.executable, "-c", _LIST_LOADED, json.dumps(modules), json.dumps(hidden)]
    ended = subprocess.run(command, capture_output=True, check=False, cwd=Path.cwd())
    assert ended.returncode == 0, ended.stderr.decode()
    return set(json.loads(ended.stdout)) - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", ["streamd.sdk", *_MODULES])
def test_a_part_of_the_sdk_loads_aiohttp_and_orjson_at_most(module: str) -> None:
    third_parties = {name for name in loaded([module], hidden=[]) if not name.startswith("_")}

    assert third_parties - {"pybase64"} <= _ALLOWED


def test_the_sdk_does_without_pybase64() -> None:
    names = loaded(_MODULES, hidden=["pybase64", "lmdb", "uvloop", "click", "prometheus_client", "xxhash"])

    assert {"aiohttp", "orjson"} <= names


def test_packing_says_which_package_it_needs_and_needs_no_other() -> None:
    make = "from streamd.sdk.aggregate_form import aggregated_record_type as make; make()"
    hide = f"import sys; sys.modules['google'] = None; {make}"

    without = subprocess.run([sys.executable, "-c", hide], capture_output=True, check=False, cwd=Path.cwd())
    plain = subprocess.run([sys.executable, "-c", make], capture_output=True, check=False, cwd=Path.cwd())

    assert b"pip install 'streamd[kpl]'" in without.stderr
    assert plain.returncode == 0, plain.stderr.decode()
