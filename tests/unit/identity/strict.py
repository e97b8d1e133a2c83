"""This file is a TLS handshake with Python's own defaults, in memory; any Python runs it by itself.

Since 3.13 those defaults hold certificates to RFC 5280 (VERIFY_X509_STRICT, VERIFY_X509_PARTIAL_CHAIN).

    python3.13 strict.py TRUST SERVER_PEM SERVER_KEY CLIENT_PEM CLIENT_KEY
"""

import ssl
import sys

STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def shake(trust: str, server: tuple[str, str], client: tuple[str, str]) -> str:
    """Return the protocol that was agreed on once both ends have checked each other, at their strictest."""
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trust)
    calling = ssl.create_default_context(cafile=trust)
    listening.verify_mode = ssl.CERT_REQUIRED
    for context, (certificate, key) in ((listening, server), (calling, client)):
        context.verify_flags |= STRICT
        context.load_cert_chain(certificate, key)
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        calling.wrap_bio(down, up, server_hostname="127.0.0.1"),
        listening.wrap_bio(up, down, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(6):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return str(ends[1].version()) if not waiting else "not shaken"


if __name__ == "__main__":
    sys.stdout.write(shake(sys.argv[1], (sys.argv[2], sys.argv[3]), (sys.argv[4], sys.argv[5])))
