"""Bodies that a server may send although no GraphQL server does."""

NOT_GRAPHQL = {
    "null": b"null",
    "a list": b"[]",
    "a string": b'"data"',
    "a number": b"7",
    "a page": b"<html><body>We will be back soon</body></html>",
    "nothing": b"",
    "no UTF-8": b'{"data":{"work":{"id":1,"title":"\xff\xfe"}}}',
    "data is null": b'{"data":null}',
    "data is a list": b'{"data":[]}',
    "data is a string": b'{"data":"work"}',
    "neither": b"{}",
    "nested deeply": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half of it": b'{"data":{"work":{"id":1',
}
NOT_SCHEMAS = {
    "no schema": b'{"data":{"__schema":null}}',
    "no types": b'{"data":{"__schema":{"types":null}}}',
    "a null type": b'{"data":{"__schema":{"types":[null]}}}',
    "no queries": b'{"data":{"__schema":{"types":[],"queryType":{"name":"Query"},"directives":[]}}}',
}
