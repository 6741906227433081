-- name: load
-- Every hold of the tenant.
select runs, scope, subject, detail, until, wait, strikes, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
from holds where tenant = $1;

-- name: load_some
-- The holds of these subjects, locked in one order until the transaction ends.
select runs, scope, subject, detail, until, wait, strikes, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
from holds
where tenant = $1 and (runs, scope, subject, detail) in (select * from unnest($2::text[], $3::text[], $4::text[], $5::text[]))
order by runs, scope, subject, detail
for update;

-- name: keep
-- Holds that began or changed; one that another replica prolonged meanwhile stays.
insert into holds (
    tenant, runs, scope, subject, detail, until, wait, strikes, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
)
select $1, h.* from unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::interval[], $8::integer[], $9::timestamptz[],
    $10::timestamptz[], $11::integer[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[]
) as h (
    runs, scope, subject, detail, until, wait, strikes, since, machine_since, code, ends_early, by_operator, by_status,
    fixed
)
order by h.runs, h.scope, h.subject, h.detail
on conflict (tenant, runs, scope, subject, detail) do update
set until = excluded.until, wait = excluded.wait, strikes = excluded.strikes, since = excluded.since,
    machine_since = excluded.machine_since, code = excluded.code, ends_early = excluded.ends_early,
    by_operator = excluded.by_operator, by_status = excluded.by_status, fixed = excluded.fixed
where holds.until <= excluded.until;

-- name: end
-- Holds that are over, unless another replica prolonged one meanwhile.
delete from holds h
using unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
    as o (runs, scope, subject, detail, until)
where h.tenant = $1
    and (h.runs, h.scope, h.subject, h.detail, h.until) = (o.runs, o.scope, o.subject, o.detail, o.until);

-- name: forget
-- Holds that were over long ago and concern nobody any more.
delete from holds where tenant = $1 and until < $2;

-- name: well
-- Whether an attempt begun since then came to a good status; empty words stand for any line, person or template.
select exists (
    select from attempts a
    join messages m on m.tenant = a.tenant and m.message_id = a.message_id and m.attempts = a.attempt
    where a.tenant = $1 and a.begun_at >= $2 and a.machine_at >= $3 and m.rank > 0
        and $4 in ('', m.line) and $5 in ('', m.person_id)
        and ($6 = '' or a.wording = 'template' and (m.template_name, m.template_language) = ($6, $7))
);
