"""Tokens for Kafka's OAUTHBEARER login, by the client credentials grant.

https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError

from shared.runtime.tls import TlsFiles

_REQUEST_SECONDS = 5.0
_ASSUMED_SECONDS = 300.0  # the life of a token whose answer does not tell it
_USED_SHARE = 0.8  # of its life; a connection made later asks for another


class _TokenResponse(msgspec.Struct):
    access_token: str
    expires_in: float = _ASSUMED_SECONDS


@dataclass(slots=True)
class ClientCredentialsTokens(AbstractTokenProvider):  # type: ignore[misc] # aiokafka ships no types
    """Gives every connection of a client the same token until most of its life has passed."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None
    tls: TlsFiles
    _token: str = field(default="", repr=False)
    _usable_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """Raises AuthenticationFailedError where the endpoint refuses the client, else KafkaConnectionError."""
        async with self._asking:
            if time.monotonic() >= self._usable_until:
                asked_at = time.monotonic()
                response = await self._request()
                self._token = response.access_token
                self._usable_until = asked_at + response.expires_in * _USED_SHARE
            return self._token

    async def _request(self) -> _TokenResponse:
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        login = aiohttp.encode_basic_auth(quote(self.client_id, safe=""), quote(self.client_secret, safe=""))
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self.token_url,
                    data=form,
                    headers={"Authorization": login},
                    ssl=self.tls.context(),
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KafkaConnectionError(f"the token endpoint cannot be reached: {type(error).__name__}") from error
        if response.status in {400, 401, 403}:
            raise AuthenticationFailedError(f"the token endpoint answers {response.status}")
        try:
            return msgspec.json.decode(body, type=_TokenResponse)
        except msgspec.DecodeError:
            raise KafkaConnectionError(f"the token endpoint answers {response.status}, without a token") from None
