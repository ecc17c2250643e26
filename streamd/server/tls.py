"""TLS for the door: one certificate chain, TLS 1.2 or newer, HTTP/2 and HTTP/1.1 offered by ALPN."""

import ssl

from streamd.config import TlsConfig
from streamd.errors import ConfigInvalid

__all__ = ["tls_context"]

_PROTOCOLS = ["h2", "http/1.1"]


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Load certificate and key. Raises ConfigInvalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that asks for new keys again and again costs us much and itself little.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    try:
        # Without a password of ours OpenSSL would ask for one at the terminal.
        context.load_cert_chain(config.certificate, config.key, password="")
    except ssl.SSLError as error:
        reason = error.reason or "it is no PEM file, or the key has a passphrase"
        raise ConfigInvalid(f"cannot use {config.certificate} with {config.key}: {reason}") from error
    except OSError as error:
        raise ConfigInvalid(f"cannot read {config.certificate} and {config.key}: {error.strerror}") from error
    return context
