"""Functions: invocations, mappings, cold starts and idle cost of a real daemon, each beside its aim."""
