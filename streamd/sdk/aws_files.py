"""The two files in which users of AWS keep their settings, read as boto3 reads them.

``~/.aws/config`` holds ``[default]``, ``[profile NAME]`` and ``[services NAME]``, ``~/.aws/credentials`` a section for
each profile; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE say where else they are. A value that begins on the next
line, indented, is a table of its own. A file that is not there is empty; one that cannot be read is refused.
"""

import configparser
import os.path
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamd.errors import ConfigInvalid

__all__ = ["AwsFiles", "Section", "read_aws_files"]

Section = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsFiles:
    """What the files say: profiles of the config file and of the credentials file, and services, by name."""

    configured: Mapping[str, Section] = field(default_factory=dict)
    shared: Mapping[str, Section] = field(default_factory=dict)
    services: Mapping[str, Section] = field(default_factory=dict)

    def profile(self, name: str) -> Section | None:
        """Give a profile as both files together describe it; None where neither does."""
        if name not in self.configured and name not in self.shared:
            return None
        return {**self.configured.get(name, {}), **self.shared.get(name, {})}


def read_aws_files(environment: Mapping[str, str]) -> AwsFiles:
    """Read the files that an environment points to. Raises ConfigInvalid."""
    home = environment.get("HOME", "~")
    config = _sections(environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config")
    shared = _sections(environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials")
    configured: dict[str, Section] = {}
    services: dict[str, Section] = {}
    for title, section in config.items():
        kind, name = _kind_and_name(title)
        if kind == "profile":
            configured[name] = section
        elif kind == "services":
            services[name] = section
    return AwsFiles(configured=configured, shared=shared, services=services)


def _kind_and_name(title: str) -> tuple[str, str]:
    if title == "default":
        return "profile", title
    try:
        words = shlex.split(title)
    except ValueError:
        words = []
    return (words[0], words[1]) if len(words) == 2 else ("", "")


def _sections(file: str) -> dict[str, Section]:
    path = Path(os.path.expandvars(file)).expanduser()
    if not path.is_file():
        return {}
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
        return {title: {name: _value(text) for name, text in parser.items(title)} for title in parser.sections()}
    except (configparser.Error, UnicodeDecodeError, OSError, ValueError) as error:
        raise ConfigInvalid(f"{path} cannot be read: {error}") from error


def _value(text: str) -> str | Mapping[str, str]:
    if not text.startswith("\n"):
        return text
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("a line of a nested table has no '='")
    return {name.strip(): value.strip() for name, _, value in pairs}
