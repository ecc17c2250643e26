"""Which ARNs this server answers for itself."""

from streamd.functions.naming import Account
from streamd.functions.targets.endpoints import Endpoint

__all__ = ["is_own"]


def is_own(arn: str, account: Account, endpoint: Endpoint | None) -> bool:
    """Tell whether an ARN is of this server, given the endpoint that is listed for it.

    A server takes requests signed for any region and writes that region into its ARNs. So its account in another region
    is itself, too, unless that region is listed as lying elsewhere.
    """
    _, _, _, region, account_id, *_ = arn.split(":")
    return account_id == account.id and (region == account.region or endpoint is None)
