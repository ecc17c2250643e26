"""Which command runs which runtime: looked up once at the start, from what the machine has.

``python3.x`` is run by that very CPython where it is on the PATH, else by the newest one there is; ``nodejs…`` by the
``node`` on the PATH and our own small client; ``provided…`` by the package's own ``bootstrap``. Java, .NET and Ruby are
run by a command from the settings only, which may also take the place of any of the others.
"""

import importlib.util
import logging
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import ConfigInvalid
from streamd.storage.runtime_folder import find_program, lay_out

__all__ = ["BOOTSTRAP_RUNTIMES", "Runtimes", "configured_commands", "find_runtimes"]

_LOG = logging.getLogger(__name__)

BOOTSTRAP_RUNTIMES = frozenset({"provided", "provided.al2", "provided.al2023"})
_PYTHON_MINORS = range(8, 16)
# awslambdaric asks for this much; an older one could not even read it.
_PYTHON_MINOR_MIN = 10
_NODE_MAJORS = range(18, 27, 2)
_ASK_TIMEOUT_S = 20.0
_QUESTION = "import sys; print(sys.implementation.name, *sys.version_info[:2], sys.executable)"


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The commands by runtime, ``{handler}`` for the handler, and the folder that is /var/runtime inside."""

    folder: Path
    command_by_name: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> frozenset[str]:
        """What can be run here."""
        return BOOTSTRAP_RUNTIMES | frozenset(self.command_by_name)

    def command(self, runtime: str, handler: str) -> tuple[str, ...] | None:
        """Give the command that runs a handler; None when this runtime has none."""
        command = self.command_by_name.get(runtime)
        return None if command is None else tuple(part.replace("{handler}", handler) for part in command)


def configured_commands(settings: str | None) -> dict[str, tuple[str, ...]]:
    """Read ``[runtime."java21"] command = ["…"]`` of the settings. Raises ConfigInvalid."""
    try:
        document = tomllib.loads(settings or "")
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"the settings of functions are no TOML: {error}") from error
    tables = document.get("runtime", {})
    if not isinstance(tables, dict):
        raise ConfigInvalid("[runtime] must hold a table for each runtime")
    commands: dict[str, tuple[str, ...]] = {}
    for name, table in tables.items():
        command = table.get("command") if isinstance(table, dict) else None
        if not (isinstance(command, list) and command and all(isinstance(part, str) and part for part in command)):
            raise ConfigInvalid(f'[runtime."{name}"] needs command = ["program", "argument", …]')
        commands[name] = tuple(command)
    return commands


def find_runtimes(folder: Path, *, own_python: str, commands: Mapping[str, tuple[str, ...]] | None = None) -> Runtimes:
    """Look for interpreters and lay out the runtime's folder; blocks, once, at the start.

    ``own_python`` is the interpreter that runs streamd, which is there in any case.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, program in _pythons(own_python).items():
        found[name] = (program, "-S", "{runtime}/start.py", "{handler}")
    node = find_program("node")
    if node is not None:
        for major in _NODE_MAJORS:
            found[f"nodejs{major}.x"] = (node, "{runtime}/node_client.mjs", "{handler}")
    return Runtimes(lay_out(folder, _runtime_sources()), {**found, **(commands or {})})


def _pythons(own_python: str) -> dict[str, str]:
    names = [f"python3.{minor}" for minor in _PYTHON_MINORS if minor >= _PYTHON_MINOR_MIN]
    candidates = [own_python, *(program for name in names if (program := find_program(name)) is not None)]
    program_by_minor = _asked(candidates)
    if not program_by_minor:
        return {}
    newest = max(program_by_minor)
    chosen: dict[str, str] = {}
    others: list[str] = []
    for minor in _PYTHON_MINORS:
        if minor not in program_by_minor:
            others.append(f"python3.{minor}")
        chosen[f"python3.{minor}"] = program_by_minor.get(minor, program_by_minor[newest])
    if others:
        _LOG.warning("not found here and run by python3.%d in their place: %s", newest, ", ".join(others))
    return chosen


def _asked(candidates: Iterable[str]) -> dict[int, str]:
    """Ask each program which CPython it is; the first of a minor wins."""
    program_by_minor: dict[int, str] = {}
    for program in dict.fromkeys(candidates):
        try:
            # A shim leads to the interpreter it stands for, which says its own place.
            answer = subprocess.run(  # noqa: S603 - the PATH is the administrator's
                [program, "-I", "-S", "-c", _QUESTION],
                capture_output=True,
                check=True,
                text=True,
                timeout=_ASK_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            ).stdout.split(maxsplit=3)
        except (OSError, subprocess.SubprocessError):
            continue
        if len(answer) == 4 and answer[:2] == ["cpython", "3"] and int(answer[2]) >= _PYTHON_MINOR_MIN:
            program_by_minor.setdefault(int(answer[2]), str(Path(answer[3].strip()).resolve()))
    return program_by_minor


def _runtime_sources() -> dict[str, Path]:
    here = Path(__file__).parent
    sources = {
        "start.py": here / "python_start.py",
        "runtime_client.py": here / "python_client.py",
        "node_client.mjs": here / "node_client.mjs",
    }
    for module in ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client"):
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ConfigInvalid(f"{module} is not installed: python runtimes need awslambdaric and what it needs")
        origin = Path(spec.origin)
        place = origin.parent if origin.name == "__init__.py" else origin
        sources[place.name] = place
    return sources
