"""Optimistic locks: a change that names a revision is made only to that one."""

from streamd.functions.faults import Fault

__all__ = ["require_revision"]


def require_revision(wanted: str | None, present: str, *, noun: str = "Function") -> None:
    """Refuse a change of another revision than the present one. Raises Fault."""
    if wanted is not None and wanted != present:
        sentence = (
            "The RevisionId provided does not match the latest RevisionId. "
            f"Call the Get{noun} API to retrieve the latest RevisionId"
        )
        raise Fault(412, "PreconditionFailedException", {"Type": "User", "message": sentence})
