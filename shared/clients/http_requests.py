"""HTTP requests with libcurl: TLS 1.2 or later, no redirects, no proxy and no credentials from the environment.

The trusted certificates are those that Python's ``ssl`` names, so ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` count. libcurl
would repeat a request by itself where a kept connection was closed under it. Here the bytes of a body are handed out
once, so the request fails instead, and the caller decides (docs/decisions/0104).
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import pycurl

_CONNECT_SECONDS = 5.0


def request_options(timeout: timedelta) -> dict[int, object]:
    """Options for ``Curl.setopt``; ``timeout`` is for a whole request.

    HTTP/1.1: over HTTP/2 a request would share its connection with others, and could not be told from them when that
    breaks.
    """
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


def _always() -> bool:
    return True


class Exchange:
    """A handle of libcurl, for one request after another, with what the present one sends and gets.

    ``longest`` is the size in bytes up to which a response is read; the rest of a longer one is not waited for, and its
    request fails with ``E_WRITE_ERROR``.
    """

    def __init__(self, url: str, options: Mapping[int, object], longest: int) -> None:
        self.curl = pycurl.Curl()
        for option, value in options.items():
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.READFUNCTION, self._read)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._write)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._note_header)
        self.content = bytearray()
        self.begun = False
        self.refused = False
        self._url = url
        self._longest = longest
        self._body = b""
        self._may_write: Callable[[], bool] = bool  # never
        self._headers: list[bytes] = []

    def prepare(self, url: str, body: bytes, may_write: Callable[[], bool] = _always) -> None:
        """Prepare a POST of this body, which is written only while ``may_write()`` is true.

        libcurl asks for the body in the instant in which it writes it, after any wait for a connection. Afterwards
        ``begun`` says whether a byte of it may have left, ``refused`` whether ``may_write`` forbade it.
        """
        if url != self._url:
            self.curl.setopt(pycurl.URL, url)
            self._url = url
        self.curl.setopt(pycurl.POST, 1)
        self.curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        self._body, self._may_write = body, may_write
        self.begun = self.refused = False
        self.content.clear()
        self._headers.clear()

    @property
    def status(self) -> int:
        code: int = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return code

    def headers(self) -> dict[str, str]:
        """The headers of the response, by their names in lower case."""
        pairs = (line.decode("latin-1").partition(":") for line in self._headers)
        return {name.strip().lower(): value.strip() for name, found, value in pairs if found}

    def _read(self, most: int) -> bytes | int:
        if not self.begun:
            if not self._may_write():
                self.refused = True
                abort: int = pycurl.READFUNC_ABORT
                return abort
            self.begun = True
        part, self._body = self._body[:most], self._body[most:]
        return part

    def _write(self, part: bytes) -> int:
        if len(self.content) + len(part) > self._longest:
            self.content.clear()
            return 0
        self.content += part
        return len(part)

    def _note_header(self, line: bytes) -> None:
        self._headers.append(line)


class RequestFailed(Exception):
    """No whole response came, in libcurl's words, which name the host at most.

    ``sent`` is whether a byte of the request's body may have left; always false for a request without one.
    """

    def __init__(self, sentence: str, *, sent: bool) -> None:
        super().__init__(sentence)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Response:
    """``headers`` by their names in lower case; ``body`` with any compression undone."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def open_multi(connections: int) -> pycurl.AsyncCurlMulti:
    """Open libcurl for requests at the same time: one on each of at most ``connections``, which it keeps."""
    multi = pycurl.AsyncCurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
    multi.setopt(pycurl.M_MAXCONNECTS, connections)
    multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)
    return multi


class HttpClient:
    """An async context that keeps connections; requests above ``connections`` at once wait for one."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._multi: pycurl.AsyncCurlMulti | None = None

    async def __aenter__(self) -> Self:
        self._multi = open_multi(self._connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._multi is not None:
            await self._multi.aclose()

    async def request(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        timeout: timedelta,  # noqa: ASYNC109 -- libcurl keeps it, and says what it has waited for
        longest: int,
    ) -> Response:
        """POST ``content``, or GET where there is none; ``longest`` in bytes is the largest body that is read.

        Raises RequestFailed; a response of any status is none.
        """
        assert self._multi is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        own = {
            pycurl.HTTPHEADER: [*(f"{name}: {value}" for name, value in headers.items()), "Expect:"],
            pycurl.ACCEPT_ENCODING: "",  # all that libcurl knows
        }
        exchange = Exchange(url, request_options(timeout) | own, longest)
        if content is not None:
            exchange.prepare(url, content)
        try:
            await self._multi.perform(exchange.curl)
            response = Response(exchange.status, exchange.headers(), bytes(exchange.content))
        except pycurl.error as error:
            code, sentence = error.args
            if code == pycurl.E_WRITE_ERROR:
                sentence = f"the answer is larger than {longest:,} bytes"
            exchange.curl.close()
            raise RequestFailed(sentence or f"libcurl's error {code}", sent=exchange.begun) from None
        exchange.curl.close()  # it refers to the exchange, and the exchange to it: both would wait for the collector
        return response
