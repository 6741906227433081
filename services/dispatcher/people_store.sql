-- Queries of people_store.py: people with their addresses, and the windows that their messages opened.

-- name: save_people
-- The newest state of each person; an older version changes nothing.
insert into people (tenant, person_id, phone, bsuid, version, merged_into)
select $1, o.person_id, o.phone, o.bsuid, o.version, o.merged_into
from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]) as o (person_id, phone, bsuid, version, merged_into)
on conflict (tenant, person_id) do update
set phone = excluded.phone, bsuid = excluded.bsuid, version = excluded.version, merged_into = excluded.merged_into
where people.version < excluded.version;

-- name: were_merged
-- Those of these people who were merged into another until now.
select person_id from people where tenant = $1 and person_id = any ($2::text[]) and current_id is not null;

-- name: follow_merges
-- The id that each of these people, and each who was merged into one of them, has after all merges; returned where it is
-- another than before.
with recursive concerned as (
    select person_id from unnest($2::text[]) as given (person_id)
    union
    select p.person_id from concerned join people p on p.tenant = $1 and p.merged_into = concerned.person_id
), path as (
    select person_id as former, person_id as current, 0 as merges from concerned
    union all
    select path.former, p.merged_into, path.merges + 1
    from path join people p on p.tenant = $1 and p.person_id = path.current and p.merged_into is not null
    where path.merges < 20
), found as (
    select distinct on (former) former, nullif(current, former) as current from path order by former, merges desc
)
update people p set current_id = found.current
from found
where p.tenant = $1 and p.person_id = found.former and p.current_id is distinct from found.current
returning p.person_id as former, p.current_id as current;

-- name: move_messages
-- Messages of former ids that are not settled yet go to the id of now.
update messages m set person_id = moved.current
from unnest($2::text[], $3::text[]) as moved (former, current)
where m.tenant = $1 and m.person_id = moved.former and m.state in ('waiting', 'intent', 'uncertain');

-- name: move_windows
-- The windows that a person opened by a former id are open for the id of now.
insert into windows (tenant, line, person_id, opened_at)
select $1, w.line, moved.current, max(w.opened_at)
from unnest($2::text[], $3::text[]) as moved (former, current)
join windows w on w.tenant = $1 and w.person_id = moved.former
group by w.line, moved.current
on conflict (tenant, line, person_id) do update
set opened_at = greatest(windows.opened_at, excluded.opened_at);

-- name: open_windows
-- The newest message of a person to a line; an older one changes nothing.
insert into windows (tenant, line, person_id, opened_at)
select $1, o.line, coalesce(p.current_id, o.person_id) as person, max(o.opened_at)
from unnest($2::text[], $3::text[], $4::timestamptz[]) as o (line, person_id, opened_at)
left join people p on p.tenant = $1 and p.person_id = o.person_id
group by o.line, person
order by o.line, person
on conflict (tenant, line, person_id) do update
set opened_at = greatest(windows.opened_at, excluded.opened_at);

-- name: close_windows
-- Windows that WhatsApp found closed at these attempts; a window opened after the attempt stays open.
delete from windows w
using unnest($2::text[], $3::integer[]) as c (message_id, attempt)
join attempts a on a.tenant = $1 and a.message_id = c.message_id and a.attempt = c.attempt
join messages m on m.tenant = $1 and m.message_id = c.message_id
where w.tenant = $1 and w.line = m.line and w.person_id = m.person_id and w.opened_at <= a.begun_at;

-- name: release_for_people
-- Messages that waited for these people wait no longer.
update messages set not_before = $3, reason = null
where tenant = $1 and person_id = any ($2::text[]) and state = 'waiting' and (reason = 'unknown_person') is true;

-- name: release_for_windows
-- Messages of these chats that wait for one of the reasons $5, for which a window may make a difference, are planned again: the
-- person has written since. The others are written, too, so that a claim that has read them before does not let them wait.
update messages
set not_before = case when reason = any ($5::text[]) then $4 else not_before end,
    reason = case when reason = any ($5::text[]) then null else reason end
where tenant = $1 and state = 'waiting' and person_id = any ($2::text[])
    and (person_id, line) in (select * from unnest($2::text[], $3::text[]));
