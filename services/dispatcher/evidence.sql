-- name: keep_early
-- Statuses whose message is not known yet.
insert into early_statuses (tenant, wamid, status, at, code, callback, event, kept_at)
select $1, s.wamid, s.status, s.at, s.code, s.callback, s.event, $2
from unnest($3::text[], $4::text[], $5::timestamptz[], $6::integer[], $7::text[], $8::text[])
    as s (wamid, status, at, code, callback, event)
on conflict (tenant, wamid, status) do nothing;

-- name: take_early
-- Early statuses of these wamids, handed over once.
delete from early_statuses where tenant = $1 and wamid = any ($2::text[])
returning wamid, status, at, code, callback, event;

-- name: matched_early
-- Early statuses whose receipt was committed at the same moment as they were kept.
select e.wamid from early_statuses e
join attempts a on a.tenant = e.tenant and a.wamid = e.wamid
where e.tenant = $1 limit $2;

-- name: forget_early
-- Statuses nobody claimed: they belong to messages of other systems on the same account.
delete from early_statuses
where ctid in (select ctid from early_statuses where tenant = $1 and kept_at < $2 limit $3);
