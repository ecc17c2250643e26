"""Whom a call is signed for: the usual AWS environment variables, or a stand-in pair.

A streamd without ``--auth`` accepts any signature but, like AWS, wants one that is well formed; so without
credentials a fixed pair is used that no service knows. AWS and a streamd with ``--auth`` refuse it with a
sentence that says so.
"""

import os
from collections.abc import Mapping
from typing import Final

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid

__all__ = ["CREDENTIALS_STAND_IN", "Credentials", "credentials_from", "credentials_of_process"]

CREDENTIALS_STAND_IN: Final = Credentials("streamd", "streamd")


def credentials_from(environment: Mapping[str, str]) -> Credentials:
    """Read the AWS variables of an environment, or give the stand-in pair when none is set.

    Raises ConfigInvalid when only one of the id and the secret is there: signing as somebody else would hide
    it.
    """
    access_key_id = environment.get("AWS_ACCESS_KEY_ID", "")
    secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not access_key_id and not secret:
        return CREDENTIALS_STAND_IN
    if not access_key_id or not secret:
        missing = "AWS_SECRET_ACCESS_KEY" if access_key_id else "AWS_ACCESS_KEY_ID"
        raise ConfigInvalid(f"{missing} is not set although its other half is: set both or neither")
    return Credentials(access_key_id, secret, environment.get("AWS_SESSION_TOKEN") or None)


def credentials_of_process() -> Credentials:
    """Read the AWS variables that this process was started with. Raises ConfigInvalid."""
    return credentials_from(os.environ)
