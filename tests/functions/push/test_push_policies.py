"""What the registry says of functions, versions and aliases that routes name."""

from dataclasses import replace
from pathlib import Path

import pytest

from streamd.core.function import Alias
from streamd.functions.push.policies import RegistryPolicies
from tests.functions.push.doors import ACCOUNT, ARN, open_door


@pytest.mark.parametrize(
    ("arn", "is_there"),
    [
        (ARN, True),
        (f"{ARN}:$LATEST", True),
        (f"{ARN}:live", True),
        (f"{ARN}:1", False),
        (f"{ARN}:other", False),
        (f"{ARN}s", False),
        ("nothing of the kind", False),
    ],
)
async def test_only_what_was_made_is_there(tmp_path: Path, arn: str, *, is_there: bool) -> None:
    alias = Alias(name="live", version="$LATEST", revision="r")
    async with open_door(tmp_path, []) as step:
        await step.registry.change("thumbnails", lambda present: replace(present, aliases={"live": alias}))
        policies = RegistryPolicies(ACCOUNT, step.registry)

        assert policies.is_there(arn) is is_there
        assert not policies.allows(arn, "s3.amazonaws.com", "arn:aws:s3:::b")
