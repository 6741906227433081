"""Queries that must agree with each other."""

import re

from services.dispatcher.store import QUERIES

_MAY_BE_PASSED = re.compile(r"\(t\.reason like .+?\)\)")


def test_the_claim_and_the_schedules_agree_on_what_messages_of_other_chains_may_pass() -> None:
    conditions = [_MAY_BE_PASSED.findall(query) for query in (QUERIES.find_due, QUERIES.line_schedules)]

    assert conditions[0] == conditions[1]
    assert len(conditions[0]) == 1
