"""What users' own tests stand on instead of a server."""

__all__: list[str] = []
