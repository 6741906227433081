"""Rows that the tests of commands begin with, and how they get into a database."""

import asyncpg

MESSAGE = """
insert into dispatcher.messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, template_name, resend, requested_at,
    expires_at, not_before, changed_at, request_event, rule
) values (
    'penrose', 'm1', 'p1', 'main', 1, 'hello', 'waiting', '{"body": "secret words"}', '{}', 'hello_v1', 'never', now(),
    now() + interval '1 day', now(), now(), 'e1', 'greet'
)
"""
PEOPLE = """
insert into ingest.people (tenant, person_id, contact_id, phone_key, wa_key, version, state) values
    ('penrose', 'p806', 806, '+447700900806', null, 1, '{}'), ('penrose', 'p900', 900, null, null, 1, '{}'),
    ('penrose', 'p901', 901, '+447700900901', '+447700900902', 1, '{}');
insert into rules.people (tenant, person_id, document) values
    ('penrose', 'p806', '{"person_id": "p806", "display_name": "Maud", "reachable": true, "roles": ["newsletter"]}'),
    ('penrose', 'p900', '{"person_id": "p900", "display_name": "Lee", "reachable": true, "roles": ["author"]}'),
    ('penrose', 'p901', '{"person_id": "p901", "display_name": "Sam", "reachable": true, "roles": ["author"]}')
"""
RULEBOOK = "insert into rules.rulebooks (revision, files, first_seen) values ('r1', '{}', now())"
ACTIVATION = """
insert into rules.rulebook_activations (tenant, revision, activated_at, cause, who)
values ('penrose', 'r1', now(), 'source', 'a test')
"""


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()
