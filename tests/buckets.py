"""A bucket as S3 serves it, with a policy that denies some of the rights."""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.web_servers import serving

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-2",
    "AWS_ALLOW_HTTP": "true",
}  # fmt: skip
_ENTRY = """<Contents><Key>{}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag>
</Contents>"""
_HEADERS = {"ETag": "1", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


@dataclass
class Bucket:
    """``denied`` are rights as a policy calls them: PutObject, GetObject, DeleteObject, ListBucket."""

    denied: Collection[str]
    objects: dict[str, bytes] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if _right(request) in self.denied:
            return _refusal(403, "AccessDenied")
        match request.method:
            case "GET":
                return self._listing() if "list-type" in request.query else self._content(request, key)
            case "PUT":
                self.objects[key] = await request.read()
                return web.Response(headers=_HEADERS)
            case "DELETE":
                self.objects.pop(key, None)
                return web.Response(status=204)
            case _:
                return await self._posted(request)

    def _listing(self) -> web.Response:
        entries = "".join(map(_ENTRY.format, self.objects))
        return _xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")

    def _content(self, request: web.Request, key: str) -> web.Response:
        if key not in self.objects:  # a bucket that may not be listed does not tell that an object is missing
            return _refusal(403, "AccessDenied") if "ListBucket" in self.denied else _refusal(404, "NoSuchKey")
        content = self.objects[key]
        if "Range" not in request.headers:
            return web.Response(body=content, headers=_HEADERS)
        place = {"Content-Range": f"bytes 0-0/{len(content)}"}
        return web.Response(status=206, body=content[:1], headers={**_HEADERS, **place})

    async def _posted(self, request: web.Request) -> web.Response:
        """The beginning and the end of an upload in parts, and the deletion of several objects."""
        if "delete" in request.query:
            keys = re.findall("<Key>(.*?)</Key>", await request.text())
            return _xml(f"<DeleteResult>{''.join(map(self._deleted, keys))}</DeleteResult>")
        if "uploads" in request.query:
            return _xml("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        return _xml("<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")

    def _deleted(self, key: str) -> str:
        """Of several objects the refusal of one is part of an answer with status 200."""
        if "DeleteObject" in self.denied:
            return f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.objects.pop(key, None)
        return f"<Deleted><Key>{key}</Key></Deleted>"


def _right(request: web.Request) -> str:
    if request.method == "GET":
        return "ListBucket" if "list-type" in request.query else "GetObject"
    if request.method == "DELETE":
        return "DeleteObject"
    return "DeleteObjects" if "delete" in request.query else "PutObject"


def _refusal(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")


@asynccontextmanager
async def bucket(monkeypatch: pytest.MonkeyPatch, denied: Collection[str] = ()) -> AsyncIterator[Bucket]:
    """Serves ``s3://files`` of this environment until the end of the block."""
    made = Bucket(denied)
    routes = [web.route(method, "/files{slash:/?}{key:.*}", made.answer) for method in ("GET", "PUT", "POST", "DELETE")]
    async with serving(routes) as url:
        for name, value in {**_ENVIRONMENT, "AWS_ENDPOINT": url}.items():
            monkeypatch.setenv(name, value)
        yield made
