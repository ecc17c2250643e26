"""What users import to put into and read from a stream, on streamd or on AWS itself.

It knows ``core`` (rules) and ``errors`` and nothing of the server, so that it works against any endpoint that speaks
the Kinesis API; beside streamd's own code it needs aiohttp and orjson alone. ``client`` holds one coroutine for each
thing a program does with a stream, ``producer`` puts many records within bounded memory, ``leases`` says how readers
share a stream. ``settings`` finds address, region and keys as boto3 does, ``transport`` sends signed calls and repeats
those that may be repeated, ``failures`` names what can go wrong.
"""

__all__: list[str] = []
