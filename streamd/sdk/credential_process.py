"""Keys that a command prints (a profile's ``credential_process``), asked for again before they expire.

The command runs without a shell and prints one JSON object: Version 1, AccessKeyId, SecretAccessKey, and perhaps
SessionToken and Expiration. What it prints is never shown; what it says on stderr is, when it fails.
"""

import asyncio
import shlex
import subprocess
import time
from datetime import UTC, datetime
from typing import Final

import orjson

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid

__all__ = ["ProcessCredentials"]

_PATIENCE_S: Final = 60
# Keys are renewed this long before they end, so that no request is signed with keys that end on its way.
_MARGIN_S: Final = 600
_STDERR_LENGTH_MAX: Final = 1000


class ProcessCredentials:
    """Runs the command when keys are first asked for, and whenever they are about to end."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._kept: Credentials | None = None
        self._end_s: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def credentials(self) -> Credentials:
        """Give keys that are good now. Raises ConfigInvalid when the command fails or prints something else."""
        if self._kept is None or self._is_ending():
            async with self._one_at_a_time:
                if self._kept is None or self._is_ending():
                    self._keep(await asyncio.to_thread(self._printed))
        assert self._kept is not None
        return self._kept

    def _is_ending(self) -> bool:
        return self._end_s is not None and time.time() + _MARGIN_S > self._end_s

    def _printed(self) -> bytes:
        try:
            # The command is the user's own, from the user's own file.
            ended = subprocess.run(  # noqa: S603
                shlex.split(self._command), capture_output=True, check=False, timeout=_PATIENCE_S
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise ConfigInvalid(f"credential_process cannot be run: {error}") from error
        if ended.returncode != 0:
            said = ended.stderr.decode("utf-8", "replace").strip()[:_STDERR_LENGTH_MAX]
            raise ConfigInvalid(f"credential_process failed with status {ended.returncode}: {said}")
        return ended.stdout

    def _keep(self, printed: bytes) -> None:
        try:
            document = orjson.loads(printed)
            version, expiration = document.get("Version"), document.get("Expiration")
            kept = Credentials(document["AccessKeyId"], document["SecretAccessKey"], document.get("SessionToken"))
            end_s = None if expiration is None else _seconds_of(expiration)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            raise ConfigInvalid("credential_process printed something else than keys as JSON") from None
        if version != 1:
            raise ConfigInvalid(f"credential_process printed Version {version!r}; this SDK knows 1")
        if end_s is not None and end_s <= time.time():
            raise ConfigInvalid(f"credential_process printed keys that expired at {expiration}")
        self._kept, self._end_s = kept, end_s


def _seconds_of(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
