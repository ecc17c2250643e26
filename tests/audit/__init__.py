"""Audits: long runs that try to break what the server promises, each a program with a short form among the tests."""

__all__: list[str] = []
