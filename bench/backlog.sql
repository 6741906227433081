-- name: insert_waiting
-- Messages $3 to $4 of the queue of tenant $1, asked for at $2: the even ones for people of their own, the odd ones in chats of $5.
insert into dispatcher.messages (
    tenant, message_id, person_id, line, lane, state, content, button_ids, template_name, template_language, resend,
    requested_at, expires_at, not_before, changed_at, request_event, say
)
select $1, 'm' || n, case when n % 2 = 0 then 'p' || n else 'chat' || n / (2 * $5::integer) end, 'main', 1, 'waiting',
    '{"body": "Your statement is ready.", "template": {"name": "t", "language": "en", "parameters": {}}}',
    '{}', 't', 'en', 'if_unproven', asked_at, asked_at + interval '2 days', asked_at, asked_at, 'e' || n, 'notice'
from generate_series($3::integer, $4::integer) as n, (select $2::timestamptz as asked_at) as asked;
