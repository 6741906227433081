-- name: observe
-- The newest state of each person; an older version changes nothing.
insert into people (tenant, person_id, phone, bsuid, version)
select $1, o.person_id, o.phone, o.bsuid, o.version
from unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) as o (person_id, phone, bsuid, version)
on conflict (tenant, person_id) do update
set phone = excluded.phone, bsuid = excluded.bsuid, version = excluded.version
where people.version < excluded.version;

-- name: release
-- Messages that waited for these people wait no longer.
update messages set not_before = $3, reason = null
where tenant = $1 and person_id = any ($2::text[]) and state = 'waiting' and reason = 'unknown_person';

-- name: open_windows
-- The newest message of a person to a line; an older one changes nothing.
insert into windows (tenant, line, person_id, opened_at)
select $1, o.line, o.person_id, o.opened_at
from unnest($2::text[], $3::text[], $4::timestamptz[]) as o (line, person_id, opened_at)
on conflict (tenant, line, person_id) do update
set opened_at = greatest(windows.opened_at, excluded.opened_at);

-- name: close_windows
-- Windows that WhatsApp found closed when these attempts came: only what opened before them is taken back.
delete from windows w
using unnest($2::text[], $3::integer[]) as c (message_id, attempt)
join attempts a on a.tenant = $1 and a.message_id = c.message_id and a.attempt = c.attempt
join messages m on m.tenant = $1 and m.message_id = c.message_id
where w.tenant = $1 and w.line = m.line and w.person_id = m.person_id and w.opened_at <= a.begun_at;
