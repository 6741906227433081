"""The options of every request through libcurl: no redirects, no proxy and no credentials of the environment, TLS 1.2.

The certificates trusted are those that Python's ``ssl`` names, so ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` count.
"""

import ssl
from datetime import timedelta

import pycurl

_CONNECT_SECONDS = 5.0


def request_options(timeout: timedelta) -> dict[int, object]:
    """Options for ``Curl.setopt``; ``timeout`` is for a whole request."""
    trusted = ssl.get_default_verify_paths()
    options = {
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.FOLLOWLOCATION: 0,
        pycurl.PROXY: "",
        pycurl.NOSIGNAL: 1,
        pycurl.CONNECTTIMEOUT_MS: int(_CONNECT_SECONDS * 1000),
        pycurl.TIMEOUT_MS: int(timeout.total_seconds() * 1000),
        pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
    }
    files = {pycurl.CAINFO: trusted.cafile, pycurl.CAPATH: trusted.capath}
    return options | {option: path for option, path in files.items() if path}
