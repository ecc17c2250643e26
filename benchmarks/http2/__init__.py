"""HTTP/2: what each library costs for small puts and for pushed streams, and HTTP/2 beside HTTP/1.1.

``python -m benchmarks.http2`` starts the same little application (a fixed answer to every POST, events for every GET)
on streamd's own door, which stands on h2, on hypercorn and on granian, drives each with prebuilt frames, and then puts
to streamd itself over HTTP/1.1 and HTTP/2 in the same run.
"""

__all__: list[str] = []
