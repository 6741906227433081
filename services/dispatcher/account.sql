-- name: template_said
-- What WhatsApp last said of a template.
insert into templates (tenant, name, language, state, said_at) values ($1, $2, $3, $4, $5)
on conflict (tenant, name, language) do update set state = excluded.state, said_at = excluded.said_at
where templates.said_at <= excluded.said_at;

-- name: release
-- Messages that waited for this template wait no longer.
update messages set not_before = $4, reason = null
where tenant = $1 and state = 'waiting' and reason = 'template_paused'
    and template_name = $2 and template_language = $3;

-- name: heard_whole
-- A heartbeat: the newest one says over which span the stream is whole, gaps that were healed included.
insert into streams (tenant, account, whole_since, whole_until) values ($1, $2, $3, $4)
on conflict (tenant, account) do update
set whole_since = excluded.whole_since, whole_until = excluded.whole_until
where streams.whole_until <= excluded.whole_until;

-- name: heard_gap
-- A gap: until a heartbeat covers it, nothing before it is known to be whole. One that is told late, after heartbeats that
-- vouched for its time, takes all back that they vouched for.
insert into streams (tenant, account, whole_since, whole_until) values ($1, $2, $3, $3)
on conflict (tenant, account) do update
set whole_since = greatest(streams.whole_until, $3), whole_until = greatest(streams.whole_until, $3);

-- name: whole_span
-- The span over which every account's stream is whole.
select max(whole_since) as since, min(whole_until) as until from streams where tenant = $1;

-- name: read_up_to
-- Up to which business instant these topics are read, where all their partitions are known.
select case when count(caught_up_to) = $2 then min(caught_up_to) end from progress where topic = any ($1::text[]);
