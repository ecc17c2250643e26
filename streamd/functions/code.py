"""The code of a request: a zip in it, checked and kept, or AWS's word for why not."""

from collections.abc import Mapping
from typing import Any

from streamd.errors import PackageInvalid
from streamd.functions.faults import Fault, invalid
from streamd.storage.packages import Package, Packages

__all__ = ["ZIPPED_BYTE_COUNT_MAX", "kept_code"]

ZIPPED_BYTE_COUNT_MAX = 52_428_800


async def kept_code(packages: Packages, code: Mapping[str, Any], *, is_dry_run: bool = False) -> Package:
    """Keep the code of a request; with ``is_dry_run`` only look at it. Raises Fault."""
    if code.get("ImageUri"):
        raise invalid("Container images are not supported by streamd: send the code as ZipFile.")
    if code.get("S3Bucket") or code.get("S3Key"):
        raise invalid("Code in S3 is not supported by streamd: send it as ZipFile.")
    content = code.get("ZipFile")
    if not content:
        raise invalid("Please provide a source for function code.")
    if len(content) >= ZIPPED_BYTE_COUNT_MAX:
        sentence = f"Zipped size must be smaller than {ZIPPED_BYTE_COUNT_MAX} bytes"
        raise Fault(413, "RequestEntityTooLargeException", {"message": sentence})
    try:
        return await (packages.check(content) if is_dry_run else packages.keep(content))
    except PackageInvalid as error:
        raise invalid(str(error)) from None
