"""The floor of ingest: verify, parse, produce one record per status with ``acks=all``, wait, respond. Nothing else.

A ready-made server, the same loop and the same producer settings as ingest, and records of the same size: a status
travels in an envelope that is always the same. No limits, no event, no identity, no metrics.
"""

import asyncio
import hashlib
import hmac
from typing import Annotated, Any

import orjson
import typer
import uvloop
from aiokafka import AIOKafkaProducer
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from shared.runtime.kafka import BATCH_BYTES, MAX_REQUEST_BYTES, partition

_TOPIC = "whatsapp.statuses"
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_HEADERS = [("traceparent", _TRACEPARENT.encode())]
_ENVELOPE = (
    b'{"specversion":"1.0","id":"09865508b0ebfcc8b23915101efe1e34/delivered","source":"stet/ingest",'
    b'"type":"whatsapp.status.reported.v1","time":"2025-11-24T16:00:00Z","recordedtime":"2026-01-01T00:00:00Z",'
    b'"data":%b}'
)
"""With a status as WhatsApp sends it, a record is as long as ingest's."""


class _WebhookFloor:
    def __init__(self, producer: AIOKafkaProducer, secret: bytes) -> None:
        self._producer = producer
        self._secret = secret

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            status = 200 if scope["method"] == "GET" else await self._handle_webhook(scope, receive)
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    async def _handle_webhook(self, scope: Any, receive: Any) -> int:
        body = await _read_body(receive)
        signature = next((value for name, value in scope["headers"] if name == b"x-hub-signature-256"), b"")
        expected = b"sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(signature, expected):
            return 401
        send = self._producer.send
        acknowledged = [
            await send(_TOPIC, _ENVELOPE % orjson.dumps(status), status["id"].encode(), headers=_HEADERS)
            for entry in orjson.loads(body)["entry"]
            for change in entry["changes"]
            for status in change["value"]["statuses"]
        ]
        await asyncio.gather(*acknowledged)
        return 200


async def _read_body(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


async def _serve(port: int, kafka: str, secret: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_REQUEST_BYTES,
        max_batch_size=BATCH_BYTES,
        partitioner=partition,
    )
    async with producer:
        server = Server(
            _WebhookFloor(producer, secret.encode()),
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGINL,
            backlog=1024,
            backpressure=512,
            http1_settings=HTTP1Settings(pipeline_flush=True),
            websockets=False,
            log_enabled=False,
        )
        await server.serve()


def main(
    *,
    port: Annotated[int, typer.Option()],
    kafka: Annotated[str, typer.Option()],
    secret: Annotated[str, typer.Option()],
) -> None:
    uvloop.run(_serve(port, kafka, secret))


if __name__ == "__main__":
    typer.run(main)
