"""The Kinesis dialect: AWS's operations by noun, its codecs, its shapes and its sentences.

This is the only room that knows AWS's Kinesis names and error codes: what comes in is bytes and an
operation's name, what goes out is bytes and a status. It never sees an HTTP library, and it never
touches a file.
"""
