"""Whom a call is signed for: what AWS's variables and files say, or a stand-in pair.

A streamd without ``--auth`` accepts any signature but, like AWS, wants one that is well formed; so without
credentials a fixed pair is used that no service knows. AWS and a streamd with ``--auth`` refuse it with a
sentence that says so.

Keys are looked for where boto3 looks, in its order. Ways to get keys that need another service (SSO, assuming a role,
the metadata of an instance or a container) are not known here: they are refused by name where boto3 would take them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid
from streamd.sdk.aws_files import AwsFiles, Section

__all__ = [
    "CREDENTIALS_STAND_IN",
    "CredentialCommand",
    "CredentialSource",
    "Credentials",
    "FixedCredentials",
    "credentials_from",
    "credentials_of_process",
    "find_credentials",
]

CREDENTIALS_STAND_IN: Final = Credentials("streamd", "streamd")

_REMEDY: Final = "give credentials=Credentials(...), set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let a"
_REMEDY_END: Final = "credential_process of the profile print keys (like `aws configure export-credentials`)"


class CredentialSource(Protocol):
    """Gives keys for each call: some live for an hour only."""

    async def credentials(self) -> Credentials:
        """Give keys that are good now. Raises ConfigInvalid where they cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class FixedCredentials:
    """Keys that stay as they are."""

    fixed: Credentials

    async def credentials(self) -> Credentials:
        """Give them."""
        return self.fixed


@dataclass(frozen=True, slots=True)
class CredentialCommand:
    """A profile's ``credential_process``: a command that prints keys."""

    command: str


def credentials_from(environment: Mapping[str, str]) -> Credentials:
    """Read the AWS variables of an environment, or give the stand-in pair when none is set.

    Raises ConfigInvalid when only one of the id and the secret is there: signing as somebody else would hide
    it.
    """
    return _pair_of_environment(environment) or CREDENTIALS_STAND_IN


def credentials_of_process() -> Credentials:
    """Read the AWS variables that this process was started with. Raises ConfigInvalid."""
    return credentials_from(os.environ)


def find_credentials(
    environment: Mapping[str, str], files: AwsFiles, *, profile: str, profile_is_argument: bool
) -> Credentials | CredentialCommand | None:
    """Look where boto3 looks, in its order; None where nothing says how to get keys.

    Keys of the environment come first, unless the profile was given as an argument. Raises ConfigInvalid for keys that
    are there by half, and for what is not supported, by its name.
    """
    if not profile_is_argument and (pair := _pair_of_environment(environment)) is not None:
        return pair
    section = files.profile(profile) or {}
    if "role_arn" in section:
        raise _unsupported(f"profile {profile!r} assumes a role (role_arn)")
    if not profile_is_argument and "AWS_WEB_IDENTITY_TOKEN_FILE" in environment:
        raise _unsupported("AWS_WEB_IDENTITY_TOKEN_FILE asks to assume a role by web identity")
    if "sso_role_name" in section or "sso_account_id" in section:
        raise _unsupported(f"profile {profile!r} signs in by SSO (sso_session or sso_start_url)")
    pair = _pair_of_section(files.shared.get(profile, {}), profile)
    if pair is not None:
        return pair
    if "login_session" in section:
        raise _unsupported(f"profile {profile!r} signs in by `aws login` (login_session)")
    command = section.get("credential_process")
    if isinstance(command, str):
        return CredentialCommand(command)
    pair = _pair_of_section(files.configured.get(profile, {}), profile)
    if pair is not None:
        return pair
    for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        if name in environment:
            raise _unsupported(f"{name} asks for a container's credentials")
    return None


def _unsupported(what: str) -> ConfigInvalid:
    return ConfigInvalid(f"{what}, which this SDK does not support: {_REMEDY} {_REMEDY_END}")


def _pair_of_environment(environment: Mapping[str, str]) -> Credentials | None:
    access_key_id = environment.get("AWS_ACCESS_KEY_ID", "")
    secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not access_key_id and not secret:
        return None
    if not access_key_id or not secret:
        missing = "AWS_SECRET_ACCESS_KEY" if access_key_id else "AWS_ACCESS_KEY_ID"
        raise ConfigInvalid(f"{missing} is not set although its other half is: set both or neither")
    token = environment.get("AWS_SECURITY_TOKEN") or environment.get("AWS_SESSION_TOKEN")
    return Credentials(access_key_id, secret, token or None)


def _pair_of_section(section: Section, profile: str) -> Credentials | None:
    access_key_id, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    if access_key_id is None:
        return None
    if not isinstance(access_key_id, str) or not isinstance(secret, str):
        raise ConfigInvalid(f"profile {profile!r} has an aws_access_key_id but no aws_secret_access_key")
    token = section.get("aws_security_token", section.get("aws_session_token"))
    return Credentials(access_key_id, secret, token if isinstance(token, str) else None)
