"""How an environment's process is started: its command, and every variable it sees (AWS's names, spec 6.2)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamd.errors import SandboxFailed
from streamd.functions.environments.runtimes import BOOTSTRAP_RUNTIMES, Runtimes
from streamd.functions.running import Runnable
from streamd.functions.sandbox.cells import Plan, Tier
from streamd.functions.variables import RESERVED

__all__ = ["EntryInvalid", "Launches", "Mints"]


class EntryInvalid(Exception):
    """The package has nothing that can be started; the sentence is AWS's."""


class Mints(Protocol):
    """Makes keys that the server accepts in a function's name."""

    def mint(self, role: str, function: str) -> tuple[str, str, str]:
        """Give an access key's id, its secret and a session token, for the time of one process."""
        ...


@dataclass(frozen=True, slots=True)
class _Places:
    """The folders as they are inside."""

    task: str
    runtime: str
    layers: tuple[str, ...]


class Launches:
    """Makes plans."""

    def __init__(self, runtimes: Runtimes, mints: Mints, *, tier: Tier, region: str, has_network: bool = False) -> None:
        self._runtimes = runtimes
        self._mints = mints
        self._tier = tier
        self._region = region
        self._has_network = has_network

    def plan(self, runnable: Runnable, *, scratch: Path, stream: str, is_provisioned: bool = False) -> Plan:
        """Plan a process. Raises EntryInvalid, and SandboxFailed when nothing runs this runtime here."""
        return Plan(
            command=self._command(runnable),
            variables=self._variables(runnable, stream, is_provisioned=is_provisioned),
            code=runnable.code,
            layers=runnable.layers,
            runtime=self._runtimes.folder,
            scratch=scratch,
            scratch_mb=runnable.scratch_mb,
            memory_mb=runnable.memory_mb,
            has_network=self._has_network,
        )

    def _command(self, runnable: Runnable) -> tuple[str, ...]:
        command = self._runtimes.command(runnable.runtime, runnable.handler)
        if command is not None:
            return command
        if runnable.runtime not in BOOTSTRAP_RUNTIMES:
            raise SandboxFailed(f"nothing runs {runnable.runtime} here: give its command in the settings")
        return (self._bootstrap(runnable),)

    def _bootstrap(self, runnable: Runnable) -> str:
        places = self._places(runnable)
        folders = [(runnable.code, "{task}"), *reversed(list(zip(runnable.layers, places.layers, strict=True)))]
        for folder, inside in folders:
            bootstrap = folder / "bootstrap"
            if not bootstrap.is_file():
                continue
            if not os.access(bootstrap, os.X_OK) or not bootstrap.stat().st_mode & 0o111:
                shown = "/var/task" if inside == "{task}" else "/opt"
                raise EntryInvalid(f"fork/exec {shown}/bootstrap: permission denied")
            return f"{inside}/bootstrap"
        raise EntryInvalid("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")

    def _places(self, runnable: Runnable) -> _Places:
        if self._tier is Tier.BWRAP:
            return _Places("/var/task", "/var/runtime", tuple("/opt" for _ in runnable.layers))
        layers = tuple(str(layer) for layer in runnable.layers)
        return _Places(str(runnable.code), str(self._runtimes.folder), layers)

    def _variables(self, runnable: Runnable, stream: str, *, is_provisioned: bool) -> dict[str, str]:
        places = self._places(runnable)
        variables = {**_open_variables(runnable, places)}
        variables.update((name, value) for name, value in runnable.variables if name not in RESERVED)
        key_id, secret, token = self._mints.mint(runnable.role, runnable.name)
        variables |= {
            "_HANDLER": runnable.handler,
            "LAMBDA_TASK_ROOT": places.task,
            "LAMBDA_RUNTIME_DIR": places.runtime,
            "AWS_LAMBDA_FUNCTION_NAME": runnable.name,
            "AWS_LAMBDA_FUNCTION_VERSION": runnable.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(runnable.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{runnable.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if is_provisioned else "on-demand",
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
        }
        if runnable.runtime not in BOOTSTRAP_RUNTIMES:
            variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{runnable.runtime}"
        if runnable.log_format == "JSON":
            variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        if runnable.log_level:
            variables["AWS_LAMBDA_LOG_LEVEL"] = runnable.log_level
        return variables


def _open_variables(runnable: Runnable, places: _Places) -> Mapping[str, str]:
    """Give the variables that a function may set otherwise."""
    layers = tuple(dict.fromkeys(reversed(places.layers)))
    libraries = [places.task, f"{places.task}/lib", *(f"{layer}/lib" for layer in layers)]
    variables = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": ":".join(["/usr/local/bin", "/usr/bin", "/bin", *(f"{layer}/bin" for layer in layers or ("/opt",))]),
        "LD_LIBRARY_PATH": ":".join(libraries),
    }
    if runnable.runtime.startswith("python"):
        variables["PYTHONPATH"] = ":".join(f"{layer}/python" for layer in layers)
    if runnable.runtime.startswith("nodejs"):
        variables["NODE_PATH"] = ":".join(f"{layer}/nodejs/node_modules" for layer in layers)
    return {name: value for name, value in variables.items() if value}
