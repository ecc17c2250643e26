"""What users import to put into and read from a stream, on streamd or on AWS itself.

It knows ``core`` (signatures) and ``errors`` and nothing of the server, so that it works against any endpoint
that speaks the Kinesis API. ``client`` holds one coroutine for each thing a program does with a stream,
``transport`` sends signed calls and repeats those that may be repeated, ``credentials`` finds whom to sign
for, ``failures`` names what can go wrong.
"""

__all__: list[str] = []
