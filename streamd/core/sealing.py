"""Encryption at rest: AES-256-GCM under a data key for each stream, itself wrapped by the store's master key.

The nonce is drawn by the caller (nothing here is random) and stands in front of the sealed bytes. What a sealed body
is bound to (its stream, shard, key generation and record count) is authenticated with it, so a body moved to another
shard does not open.
"""

import struct
from typing import TYPE_CHECKING

from streamd.errors import MasterKeyMissing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_BYTE_COUNT", "NONCE_BYTE_COUNT", "SEALING_BYTE_COUNT", "DataKey", "unwrap", "wrap"]

KEY_BYTE_COUNT = 32
NONCE_BYTE_COUNT = 12

SEALING_BYTE_COUNT = NONCE_BYTE_COUNT + 16
"""What sealing adds to a body: the nonce and the tag."""

_BINDING = struct.Struct(">QIHI")
_WRAP_BINDING = struct.Struct(">QH")


class DataKey:
    """One generation of a stream's data key. Never shows its bytes."""

    __slots__ = ("_cipher", "generation", "stream_number")

    def __init__(self, secret: bytes, *, stream_number: int, generation: int) -> None:
        self._cipher = _cipher(secret)
        self.stream_number = stream_number
        self.generation = generation

    def seal(self, body: bytes, *, nonce: bytes, shard_index: int, record_count: int) -> bytes:
        """Encrypt a block's body."""
        return nonce + self._cipher.encrypt(nonce, body, self._binding(shard_index, record_count))

    def open(self, sealed: bytes, *, shard_index: int, record_count: int) -> bytes:
        """Decrypt a block's body. Raises MasterKeyMissing when it was not sealed by this key for this place."""
        nonce, ciphertext = sealed[:NONCE_BYTE_COUNT], sealed[NONCE_BYTE_COUNT:]
        body = _decrypted(self._cipher, nonce, ciphertext, self._binding(shard_index, record_count))
        if body is None:
            raise MasterKeyMissing("an encrypted block does not open with its data key")
        return body

    def _binding(self, shard_index: int, record_count: int) -> bytes:
        return _BINDING.pack(self.stream_number, shard_index, self.generation, record_count)


def wrap(secret: bytes, *, master_key: bytes, nonce: bytes, stream_number: int, generation: int) -> bytes:
    """Encrypt a data key's bytes under the master key."""
    binding = _WRAP_BINDING.pack(stream_number, generation)
    return nonce + _cipher(master_key).encrypt(nonce, secret, binding)


def unwrap(wrapped: bytes, *, master_key: bytes, stream_number: int, generation: int) -> DataKey:
    """Open a wrapped data key. Raises MasterKeyMissing when the master key is another one."""
    nonce, ciphertext = wrapped[:NONCE_BYTE_COUNT], wrapped[NONCE_BYTE_COUNT:]
    binding = _WRAP_BINDING.pack(stream_number, generation)
    secret = _decrypted(_cipher(master_key), nonce, ciphertext, binding)
    if secret is None:
        raise MasterKeyMissing(
            "the data key of an encrypted stream does not open with this master key; "
            "start streamd with the master key the stream was encrypted under"
        )
    return DataKey(secret, stream_number=stream_number, generation=generation)


def _cipher(secret: bytes) -> "AESGCM":
    # Imported with the first key: the library takes 7 MB of every worker, and most never meet an encrypted stream.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as Cipher  # noqa: N811, PLC0415 - see above

    return Cipher(secret)


def _decrypted(cipher: "AESGCM", nonce: bytes, ciphertext: bytes, binding: bytes) -> bytes | None:
    """Give the plain bytes; None when they were sealed by another key, for another place, or were altered."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see _cipher

    try:
        return cipher.decrypt(nonce, ciphertext, binding)
    except InvalidTag:
        return None
