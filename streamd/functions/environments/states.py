"""Where an environment is in its life, and why its process must end."""

from enum import Enum, auto

__all__ = ["End", "State"]


class State(Enum):
    """Where an environment is in its life."""

    STARTING = auto()
    INIT = auto()
    IDLE = auto()
    BUSY = auto()
    STOPPING = auto()


class End(Enum):
    """Why a process must end, or has (then there is an Exit in its place)."""

    INIT_LIMIT = auto()
    INIT_FAILED = auto()
    TIMEOUT = auto()
    STOPPED = auto()
