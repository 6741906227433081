"""The queries that are sent to Consonance."""

from pathlib import Path

import pytest
from graphql import parse, print_ast

from services.ingest.poll.consonance_reader import load_query, without_comments

NAMES = [path.stem for path in (Path(__file__).parents[3] / "services/ingest/poll/graphql").glob("*.graphql")]


@pytest.mark.parametrize("name", NAMES)
def test_a_query_without_its_comments_asks_the_same(name: str) -> None:
    written = load_query(name)
    assert "#" in written
    sent = without_comments(written)
    assert "#" not in sent
    assert print_ast(parse(sent)) == print_ast(parse(written))
