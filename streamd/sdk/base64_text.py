"""Base64 of what records hold: by pybase64, which comes with streamd and is several times quicker, else by Python's."""

try:
    from pybase64 import b64decode, b64encode_as_string
except ImportError:  # an installation of the SDK's own needs alone
    from base64 import b64decode, b64encode  # type: ignore[assignment]  # its names of arguments differ

    def b64encode_as_string(data: bytes) -> str:  # type: ignore[misc]  # pybase64's takes an alphabet too
        """Write bytes as base64."""
        return b64encode(data).decode("ascii")


__all__ = ["b64decode", "b64encode_as_string"]
