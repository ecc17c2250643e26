"""Asynchronous invocations: kept durably, tried until they are over, their outcomes delivered."""
