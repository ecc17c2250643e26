"""What one environment may use at most, and which of it the kernel is told to see to."""

from streamd.functions.sandbox.cells import Plan

__all__ = ["DESCRIPTOR_COUNT_MAX", "MIB", "PROCESS_COUNT_MAX", "data_byte_count_max"]

MIB = 1 << 20
# AWS's figures, for each environment.
DESCRIPTOR_COUNT_MAX = 1024
PROCESS_COUNT_MAX = 1024
# What an interpreter maps and does not touch: Python and threads live with this much beside the function's own memory.
_MARGIN_MB = 64
# V8 sets more aside; with less it does not begin at all.
_NODE_MARGIN_MB = 512


def data_byte_count_max(plan: Plan) -> int:
    """Give RLIMIT_DATA. It stops one process that takes much at once, before the next look at what all of them hold."""
    is_node = plan.variables.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_nodejs")
    return (plan.memory_mb + (_NODE_MARGIN_MB if is_node else _MARGIN_MB)) * MIB
