"""The doors: what stands between a socket and the operations.

HTTP, authentication, health and metrics. A request leaves here as plain values and its reply comes back as
plain values, so no operation ever sees an HTTP library.
"""

__all__: list[str] = []
