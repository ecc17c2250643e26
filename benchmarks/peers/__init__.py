"""streamd beside its peers: the same work against each, in one run, interleaved.

``python -m benchmarks.peers`` starts every system that is installed on a free port of the loopback interface, with its
data in a folder of its own on disk, and stops it at the end whatever happens. Kinesis servers get the same requests;
log servers with protocols of their own (Redis Streams, NATS JetStream) get the same records. Rounds are interleaved:
each system once, then each again. After each measurement of puts the stream is counted by reading it, and a figure
whose records are not there is marked as lost.

Figures belong to one machine and one sitting. What can be compared are ratios, so each row gives its ratio to streamd
with two workers, and ``baseline.json`` beside this package keeps the ratios that were accepted last.
"""
