-- name: enqueue
-- Takes a batch of requests in their order; one known already is left as it is.
insert into writes (
    tenant, write_id, lane, record, operation, once_key, request, event_id, correlation_id, traceparent,
    requested_at, due_at
)
select tenant, write_id, lane, record, operation, once_key, request::jsonb, event_id, correlation_id, traceparent,
    requested_at, $12
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::timestamptz[]
) with ordinality as asked (
    tenant, write_id, lane, record, operation, once_key, request, event_id, correlation_id, traceparent,
    requested_at, place
)
order by place
on conflict (tenant, write_id) do nothing

-- name: remember_people
-- Keeps the newest state of each person; an older version changes nothing.
insert into people (tenant, person_id, contact_id, display_name, erased, version)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::bigint[])
on conflict (tenant, person_id) do update
set contact_id = excluded.contact_id, display_name = excluded.display_name, erased = excluded.erased,
    version = excluded.version
where people.version < excluded.version

-- name: wake
-- Tells every replica's queue, at commit, that there may be something to do.
select pg_notify('stet_writeback_queue', '')
