"""Who is at the other end of a connection."""

import asyncio

__all__ = ["peer_of"]


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """Give the IP address that a connection came from, as the socket tells it; empty where there is none."""
    name = None if transport is None else transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else ""
