"""Where a client calls, for which region, with whose keys: from arguments, environment and AWS's files, as boto3 does.

An argument wins over a variable, a variable over a file. Without any address the client calls AWS itself, and then
needs a region and keys. With an address it does well without both: streamd takes any region and, without ``--auth``,
any keys.

Beside boto3's AWS_DEFAULT_REGION and AWS_DEFAULT_PROFILE the names of the other SDKs are read, AWS_REGION and
AWS_PROFILE; boto3's come first.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid
from streamd.sdk.aws_files import AwsFiles, Section, read_aws_files
from streamd.sdk.credential_process import ProcessCredentials
from streamd.sdk.credentials import (
    CREDENTIALS_STAND_IN,
    CredentialCommand,
    CredentialSource,
    FixedCredentials,
    find_credentials,
)

__all__ = ["REGION_STAND_IN", "Settings", "find_settings", "settings_of_process"]

REGION_STAND_IN: Final = "us-east-1"
_HOST_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_DOMAIN_BY_REGION_PREFIX: Final = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client needs to know before its first call."""

    endpoint: str
    region: str
    credentials: CredentialSource


def find_settings(
    environment: Mapping[str, str],
    files: AwsFiles,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    credentials: Credentials | None = None,
    service: str = "kinesis",
) -> Settings:
    """Put settings of a service's client together; arguments that are None were not given. Raises ConfigInvalid."""
    named = profile or environment.get("AWS_DEFAULT_PROFILE") or environment.get("AWS_PROFILE")
    section = files.profile(named or "default")
    if section is None and named is not None:
        raise ConfigInvalid(f"there is no profile {named!r} in the AWS config and credentials files")
    section = section or {}
    found_region = region or _region(environment, section)
    found_endpoint = endpoint if endpoint is not None else _endpoint(environment, files, section, service)
    source = _source(environment, files, named, profile_is_argument=profile is not None, given=credentials)
    if found_endpoint is None:
        if found_region is None:
            raise ConfigInvalid("no region is set: give region=, set AWS_REGION, or give the endpoint of a server")
        if source is None:
            raise ConfigInvalid(
                "no credentials were found in arguments, environment and AWS files, and the metadata of an instance "
                "(IMDS) is not supported: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a credential_process"
            )
        found_endpoint = _endpoint_of_region(environment, section, found_region, service)
    return Settings(
        endpoint=found_endpoint,
        region=found_region or REGION_STAND_IN,
        credentials=source or FixedCredentials(CREDENTIALS_STAND_IN),
    )


def settings_of_process(
    *,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    credentials: Credentials | None = None,
    service: str = "kinesis",
) -> Settings:
    """Put settings together from the environment and the files of this process. Raises ConfigInvalid."""
    return find_settings(
        os.environ,
        read_aws_files(os.environ),
        endpoint=endpoint,
        region=region,
        profile=profile,
        credentials=credentials,
        service=service,
    )


def _source(
    environment: Mapping[str, str],
    files: AwsFiles,
    profile: str | None,
    *,
    profile_is_argument: bool,
    given: Credentials | None,
) -> CredentialSource | None:
    if given is not None:
        return FixedCredentials(given)
    found = find_credentials(environment, files, profile=profile or "default", profile_is_argument=profile_is_argument)
    if isinstance(found, CredentialCommand):
        return ProcessCredentials(found.command)
    return None if found is None else FixedCredentials(found)


def _region(environment: Mapping[str, str], section: Section) -> str | None:
    found = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or section.get("region")
    return found if isinstance(found, str) and found else None


def _endpoint(environment: Mapping[str, str], files: AwsFiles, section: Section, service: str) -> str | None:
    if _flag(environment, section, "ignore_configured_endpoint_urls"):
        return None
    of_environment = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL")
    if of_environment:
        return of_environment
    of_service: object = None
    title = section.get("services")
    if isinstance(title, str):
        if title not in files.services:
            raise ConfigInvalid(f"the profile names services {title!r}, which the AWS config file does not have")
        its = files.services[title].get(service)
        of_service = its.get("endpoint_url") if isinstance(its, Mapping) else None
    found = of_service or section.get("endpoint_url")
    return found if isinstance(found, str) and found else None


def _endpoint_of_region(environment: Mapping[str, str], section: Section, region: str, service: str) -> str:
    """Give AWS's own address in a region."""
    for name in ("use_fips_endpoint", "use_dualstack_endpoint"):
        if _flag(environment, section, name):
            raise ConfigInvalid(f"{name} is not supported by this SDK: give the address as endpoint=")
    if _HOST_LABEL.fullmatch(region) is None:
        raise ConfigInvalid(f"region {region!r} is no name of a region")
    domains = [domain for prefix, domain in _DOMAIN_BY_REGION_PREFIX.items() if region.startswith(prefix)]
    return f"https://{service}.{region}.{domains[0] if domains else 'amazonaws.com'}"


def _flag(environment: Mapping[str, str], section: Section, name: str) -> bool:
    text = environment.get(f"AWS_{name.upper()}", section.get(name))
    return isinstance(text, str) and text.lower() == "true"
