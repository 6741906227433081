"""The GraphQL client of Consonance, before a server that answers anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from shared.clients import consonance_graphql
from shared.clients.consonance_graphql import (
    ConsonanceClient,
    KeyRefused,
    MutationRejected,
    NoAnswer,
    QueryFailed,
    RequestNotSent,
    is_schema_error,
)
from shared.contracts.errors import Throttled, Unavailable
from shared.runtime.clock import machine_now
from tests.shared.unexpected_answers import NOT_GRAPHQL, NOT_SCHEMAS
from tests.web_servers import serving

QUERY, MUTATION = "{ work { id } }", "mutation { x }"


def client(url: str, seconds: float = 5) -> ConsonanceClient:
    return ConsonanceClient(url, "a-key", timedelta(seconds=seconds), service="test", meanwhile="nothing goes on")


@asynccontextmanager
async def server(
    body: bytes = b'{"data":{"work":{"id":1}}}', status: int = 200, headers: dict[str, str] | None = None
) -> AsyncIterator[str]:
    async def reply(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    async with serving([web.post("/graphql", reply)]) as url:
        yield f"{url}/graphql"


async def test_the_data_of_a_query_is_returned() -> None:
    async with server() as url, client(url) as consonance:
        assert await consonance.query(QUERY, {}) == {"work": {"id": 1}}


@pytest.mark.parametrize("body", NOT_GRAPHQL.values(), ids=list(NOT_GRAPHQL))
async def test_an_answer_that_is_no_graphql_is_an_unavailable_consonance(body: bytes) -> None:
    async with server(body) as url, client(url) as consonance:
        with pytest.raises(Unavailable) as failure:
            await consonance.query(QUERY, {})
        assert not isinstance(failure.value, QueryFailed)
        is_object = b"{" in body and b"[[[" not in body
        if not is_object:
            with pytest.raises(NoAnswer):
                await consonance.mutate(MUTATION, {})


@pytest.mark.parametrize("body", [*NOT_GRAPHQL.values(), *NOT_SCHEMAS.values()], ids=[*NOT_GRAPHQL, *NOT_SCHEMAS])
async def test_an_introspection_without_a_valid_schema_is_an_unavailable_consonance(body: bytes) -> None:
    async with server(body) as url, client(url) as consonance:
        with pytest.raises(Unavailable):
            await consonance.fetch_schema()


async def test_errors_count_whatever_the_http_status_and_data() -> None:
    body = b'{"errors":[{"message":"Cannot query field x on type Work."}],"data":{"work":{"id":1}}}'
    async with server(body) as url, client(url) as consonance:
        with pytest.raises(QueryFailed) as failure:
            await consonance.query(QUERY, {})
    assert failure.value.schema_changed


@pytest.mark.parametrize(
    ("date", "lead"),
    [
        ("Mon, 30 Nov 2026 12:00:00 GMT", timedelta()),
        ("Mon, 30 Nov 2026 11:01:00 GMT", timedelta()),
        ("Mon, 30 Nov 2026 10:00:00 GMT", timedelta(hours=2)),
        ("Fri, 27 Nov 2026 12:00:00 -0000", timedelta(days=3)),
        ("Thu, 03 Dec 2026 12:00:00 GMT", timedelta()),
        ("Thu, 01 Jan 1970 00:00:00 GMT", timedelta()),
        ("yesterday", timedelta()),
        (None, timedelta()),
    ],
)
def test_a_clock_is_ahead_where_an_answer_was_made_more_than_an_hour_ago(date: str | None, lead: timedelta) -> None:
    assert consonance_graphql.clock_lead(date, datetime(2026, 11, 30, 12, tzinfo=UTC)) == lead


async def test_each_answer_says_anew_how_far_the_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as url, client(url) as consonance:
        for ahead in (timedelta(), timedelta(days=2), timedelta()):
            monkeypatch.setattr(consonance_graphql, "machine_now", lambda ahead=ahead: machine_now() + ahead)
            await consonance.query(QUERY, {})
            assert abs(consonance.clock_lead - ahead) < timedelta(minutes=1)


async def test_a_redirect_is_not_followed() -> None:
    """It would send a mutation a second time, with what it says of people, and to any address."""
    async with (
        server() as elsewhere,
        server(b"", status=307, headers={"Location": elsewhere}) as url,
        client(url) as consonance,
    ):
        with pytest.raises(Unavailable, match="HTTP 307"):
            await consonance.query(QUERY, {})
        with pytest.raises(NoAnswer, match="HTTP 307"):
            await consonance.mutate(MUTATION, {})


async def test_a_server_error_leaves_open_whether_a_mutation_was_executed() -> None:
    async with server(status=503) as url, client(url) as consonance:
        with pytest.raises(NoAnswer):
            await consonance.mutate(MUTATION, {})


async def test_a_request_without_a_connection_was_not_sent() -> None:
    async with server() as url:
        pass
    async with client(url) as consonance:
        with pytest.raises(RequestNotSent):
            await consonance.mutate(MUTATION, {})


async def test_an_answer_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consonance_graphql, "LARGEST_ANSWER", 100_000)
    async with server(b" " * 200_000) as url, client(url) as consonance:
        with pytest.raises(NoAnswer):
            await consonance.query(QUERY, {})


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_named_and_never_shown(status: int) -> None:
    async with server(status=status) as url, client(url) as consonance:
        assert await consonance.key_detail() == ""
        with pytest.raises(KeyRefused):
            await consonance.query(QUERY, {})
        detail = await consonance.key_detail()
    assert detail.startswith("STET_CONSONANCE_KEY: ")
    assert "a-key" not in detail


@pytest.mark.parametrize(("status", "error"), [(401, KeyRefused), (403, MutationRejected), (413, MutationRejected)])
async def test_a_rejected_mutation_is_no_refused_key(status: int, error: type[Unavailable]) -> None:
    async with server(status=status) as url, client(url) as consonance:
        with pytest.raises(error):
            await consonance.mutate(MUTATION, {})
        assert bool(await consonance.key_detail()) is (error is KeyRefused)


@pytest.mark.parametrize("retry_after", ["99999999999999999999", "²", "-5", "soon", "0", ""])
async def test_a_requested_pause_ends_within_the_hour(retry_after: str) -> None:
    headers = {"Retry-After": retry_after.encode().decode("latin-1")}
    async with server(status=429, headers=headers) as url, client(url) as consonance:
        with pytest.raises(Throttled) as failure:
            await consonance.query(QUERY, {})
    assert timedelta(0) <= failure.value.wait <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("Wed, 03 Mar 2027 10:02:00 GMT", 120),
        ("Wed, 03 Mar 2027 23:00:00 GMT", 3600),
        ("Wed, 03 Mar 2027 09:00:00 GMT", 5),
        ("Wed, 03 Mar 2027 10:02:00 -0000", 120),
        ("Wed, 99 Mar 2027 10:02:00 GMT", 5),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
        ("7", 7),
    ],
)
async def test_a_pause_may_be_requested_until_a_time(
    monkeypatch: pytest.MonkeyPatch, retry_after: str, seconds: int
) -> None:
    monkeypatch.setattr(consonance_graphql, "machine_now", lambda: datetime(2027, 3, 3, 10, tzinfo=UTC))
    async with server(status=429, headers={"Retry-After": retry_after}) as url, client(url) as consonance:
        with pytest.raises(Throttled) as failure:
            await consonance.query(QUERY, {})
    assert failure.value.wait == timedelta(seconds=seconds)


@pytest.mark.parametrize("errors", [None, 7, "no", [None], [{"message": 7}], [{"extensions": {"code": []}}]])
def test_errors_of_any_shape_are_no_schema_errors(errors: object) -> None:
    assert not is_schema_error(errors)


@pytest.mark.parametrize(
    ("written", "read"),
    [(rb"a\u0000b", "ab"), (rb"a\\u0000b", r"a\u0000b"), (rb"half a pair \ud83d", "half a pair ?")],
)
async def test_a_text_is_read_as_the_database_takes_it(written: bytes, read: str) -> None:
    body = b'{"data":{"work":{"subtitle":"%s"}}}' % written
    async with server(body) as url, client(url) as consonance:
        assert await consonance.query(QUERY, {}) == {"work": {"subtitle": read}}
        assert (await consonance.mutate(MUTATION, {}))["data"] == {"work": {"subtitle": read}}
