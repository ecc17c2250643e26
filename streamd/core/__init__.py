"""Rules as values and functions: no I/O, no clock, no randomness, no tasks, no logging.

Time comes in as ``now_ms``, bytes come in as arguments, and what should happen next is returned, not done.
"""

__all__: list[str] = []
