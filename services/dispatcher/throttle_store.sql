-- Queries of throttle_store.py.

-- name: load_throttles
-- Every throttle of the tenant.
select clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
from throttles where tenant = $1;

-- name: lock_throttles
-- The throttles of these subjects, locked in one order until the transaction ends.
select clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
from throttles
where tenant = $1
    and (clock, scope, subject, detail) in (select * from unnest($2::text[], $3::text[], $4::text[], $5::text[]))
order by clock, scope, subject, detail
for update;

-- name: save_throttles
-- Throttles that began or changed; one that another replica prolonged meanwhile stays.
insert into throttles (
    tenant, clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
)
select $1, h.* from unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::interval[], $8::integer[], $9::timestamptz[],
    $10::timestamptz[], $11::integer[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[]
) as h (
    clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
)
order by h.clock, h.scope, h.subject, h.detail
on conflict (tenant, clock, scope, subject, detail) do update
set until = excluded.until, wait = excluded.wait, trips = excluded.trips, since = excluded.since,
    machine_since = excluded.machine_since, code = excluded.code, ends_early = excluded.ends_early,
    by_operator = excluded.by_operator, by_status = excluded.by_status, fixed = excluded.fixed
where throttles.until <= excluded.until;

-- name: delete_throttles
-- Throttles that have ended, unless another replica prolonged one meanwhile.
delete from throttles h
using unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
    as o (clock, scope, subject, detail, until)
where h.tenant = $1
    and (h.clock, h.scope, h.subject, h.detail, h.until) = (o.clock, o.scope, o.subject, o.detail, o.until);

-- name: delete_old_throttles
-- Throttles that ended long ago.
delete from throttles where tenant = $1 and until < $2;

-- name: has_succeeded_since
-- Whether an attempt begun since then got a good status; empty arguments stand for any lines, person or template.
select exists (
    select from attempts a
    join messages m on m.tenant = a.tenant and m.message_id = a.message_id and m.attempts = a.attempt
    where a.tenant = $1 and a.begun_at >= $2 and a.machine_at >= $3 and m.rank > 0
        and (cardinality($4::text[]) = 0 or m.line = any ($4::text[])) and $5 in ('', m.person_id)
        and ($6 = '' or a.wording = 'template' and (
            coalesce(m.used_template, m.template_name), coalesce(m.used_language, m.template_language)
        ) = ($6, $7))
);
