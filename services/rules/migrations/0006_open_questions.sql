-- How many people a chain waits for an answer of, and since when the first of them was asked (business time): the same as in
-- the document, for the metrics, which ask every few seconds and must not read documents. A version that does not know the
-- columns leaves them as they are; the next change of the chain by a newer one mends them.
alter table chains add column open_questions integer not null default 0;
alter table chains add column asked_since timestamptz;

update chains c
set open_questions = asked.people, asked_since = asked.since
from (
    select one.chain_id, count(distinct message ->> 'person_id') as people,
        min((message ->> 'requested_at')::timestamptz) as since
    from chains one
    cross join lateral jsonb_array_elements(coalesce(one.document -> 'outgoing', '[]')) as message
    where one.active
        and message ->> 'requested_at' is not null
        and jsonb_array_length(coalesce(message -> 'buttons', '[]')) > 0
        and not coalesce((message ->> 'closed')::boolean, false)
        and coalesce(message ->> 'delivery', 'held') not in ('held', 'failed', 'dropped', 'withdrawn')
        and not exists (
            select from jsonb_array_elements(coalesce(one.document -> 'given', '[]')) as given
            where given ->> 'person_id' = message ->> 'person_id' and (given ->> 'final')::boolean
        )
    group by one.chain_id
) as asked
where c.chain_id = asked.chain_id;

create index chains_with_questions on chains (rule, asked_since) include (open_questions) where open_questions > 0;
