"""Data keys of encrypted streams: made when encryption starts, opened with the master key when first needed."""

import os
from collections.abc import Callable
from dataclasses import replace

from streamd.core.sealing import KEY_BYTE_COUNT, NONCE_BYTE_COUNT, DataKey, unwrap, wrap
from streamd.core.stream import Encryption, Stream, WrappedKey
from streamd.errors import MasterKeyMissing

__all__ = ["Keys"]

_CACHE_COUNT_MAX = 10_000


class Keys:
    """The data keys. The master key is asked for only when the first stream is encrypted or read."""

    def __init__(self, master_key: Callable[[], bytes]) -> None:
        self._master_key = master_key
        self._opened: dict[tuple[int, int], DataKey] = {}

    def start(self, stream: Stream, *, key_id: str) -> Stream:
        """Give the stream with new records encrypted under a new data key."""
        generation = len(stream.encryption.keys) + 1
        wrapped = wrap(
            os.urandom(KEY_BYTE_COUNT),
            master_key=self._master_key(),
            nonce=os.urandom(NONCE_BYTE_COUNT),
            stream_number=stream.number,
            generation=generation,
        )
        keys = (*stream.encryption.keys, WrappedKey(generation=generation, wrapped=wrapped))
        return replace(stream, encryption=Encryption(key_id=key_id, keys=keys))

    def stop(self, stream: Stream) -> Stream:
        """Give the stream with new records as they are; the keys stay, for those written before."""
        return replace(stream, encryption=replace(stream.encryption, key_id=None))

    def current(self, stream: Stream) -> DataKey | None:
        """Give the key that seals new records; None while encryption is off. Raises MasterKeyMissing."""
        generation = stream.encryption.generation
        return self.of_generation(stream, generation) if generation else None

    def of_generation(self, stream: Stream, generation: int) -> DataKey:
        """Give the key of one generation. Raises MasterKeyMissing."""
        place = (stream.number, generation)
        if (key := self._opened.get(place)) is not None:
            return key
        for wrapped in stream.encryption.keys:
            if wrapped.generation == generation:
                key = unwrap(
                    wrapped.wrapped,
                    master_key=self._master_key(),
                    stream_number=stream.number,
                    generation=generation,
                )
                if len(self._opened) >= _CACHE_COUNT_MAX:
                    self._opened.clear()
                self._opened[place] = key
                return key
        raise MasterKeyMissing(f"stream {stream.name} has no data key of generation {generation}")
