"""What the Lambda API refuses: AWS's error types, each with the body that AWS gives it (spec 3.5)."""

from collections.abc import Mapping

__all__ = ["Fault", "conflict", "invalid", "not_found", "validation"]


class Fault(Exception):
    """An error of the Lambda API: header ``x-amzn-errortype`` is ``code``, the body ``document``."""

    def __init__(self, status: int, code: str, document: Mapping[str, str]) -> None:
        super().__init__(code, document)
        self.status = status
        self.code = code
        self.document = document


def invalid(message: str) -> Fault:
    """Make AWS's word for a value that is wrong in itself."""
    return Fault(400, "InvalidParameterValueException", {"Type": "User", "message": message})


def conflict(message: str) -> Fault:
    """Make AWS's word for what cannot be beside what is there."""
    return Fault(409, "ResourceConflictException", {"Type": "User", "message": message})


def not_found(message: str) -> Fault:
    """Make AWS's word for what is not there; its body alone has a capital M."""
    return Fault(404, "ResourceNotFoundException", {"Type": "User", "Message": message})


def validation(*violations: str) -> Fault:
    """Make AWS's word for values that break the API's own model, such as ``Value '0' at 'timeout' failed to …``."""
    count = len(violations)
    sentence = f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(violations)}"
    return Fault(400, "ValidationException", {"message": sentence})
