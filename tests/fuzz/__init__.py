"""Broken bytes for every decoder: no crash, no hang, no 500 from bad input."""

__all__: list[str] = []
