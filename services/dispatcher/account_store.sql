-- The tables account_templates, account_limits and webhook_coverage, and the messages that wait for them.

-- name: release_for_templates
-- The next $4 messages after $3 that wait for a template are planned again: for the report of one, for its throttle, or for what
-- is known of their fallback. One that still may not go is held again. Returns where to go on, 0 at the end.
with looked_at as materialized (
    select m.message_id, m.sequence from messages m
    where m.tenant = $1 and m.sequence > $3 and m.state = 'waiting' and m.reason in (
        'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
        'template_disabled', 'template_throttled'
    )
    order by m.sequence limit $4
), released as (
    update messages m set not_before = $2, reason = null
    where m.tenant = $1 and m.message_id = any (array(select message_id from looked_at))
        and (m.state = 'waiting') is true and (m.reason like 'template\_%') is true
)
select case when count(*) = $4 then max(sequence) else 0 end from looked_at;

-- name: adopt_templates
-- Templates that were stored without an account get the first account about which anything is reported or read.
update account_templates t set account = $2
where t.tenant = $1 and t.account = '' and (
    select true from account_templates own
    where own.tenant = $1 and own.name = t.name and own.language = t.language and own.account = $2 limit 1
) is null;

-- name: save_template_reports
-- Reports of WhatsApp on an account's templates: for the state and for the category, each, the newest report counts. Where
-- only the new category is known, the one before it is that of the row.
insert into account_templates as known (
    tenant, account, name, language, status, reported_at, category, previous_category, quality, reason, categorised_at
)
select $1, $2, r.name, r.language, r.status, case when r.status is null then '-infinity' else r.at end, r.category,
    r.previous_category, r.quality, r.reason, case when r.category is not null then r.at end
from unnest(
    $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[]
) as r (name, language, at, status, category, previous_category, quality, reason)
on conflict (tenant, name, language, account) do update
set status = case when excluded.status is not null and known.reported_at <= excluded.reported_at
        then excluded.status else known.status end,
    reason = case when excluded.status is not null and known.reported_at <= excluded.reported_at
        then excluded.reason else known.reason end,
    reported_at = greatest(known.reported_at, excluded.reported_at),
    quality = coalesce(excluded.quality, known.quality),
    category = case when excluded.categorised_at >= coalesce(known.categorised_at, '-infinity')
        then excluded.category else known.category end,
    previous_category = case
        when excluded.categorised_at is null or excluded.categorised_at < known.categorised_at
            then known.previous_category
        when excluded.previous_category is not null then excluded.previous_category
        when excluded.category is distinct from known.category then known.category
        else known.previous_category
    end,
    categorised_at = greatest(known.categorised_at, excluded.categorised_at);

-- name: mark_missing_templates
-- Templates of which something is known, and which their account's list does not have any more.
update account_templates t set status = 'MISSING', reason = null, reported_at = $3
where t.tenant = $1 and t.account = $2 and t.reported_at < $3
    and coalesce(t.status, 'APPROVED') <> all ($6::text[])
    and not exists (
        select from unnest($4::text[], $5::text[]) as l (name, language)
        where l.name = t.name and l.language = t.language
    );

-- name: save_template_reading
-- The list of an account's templates was read to its end.
insert into template_readings (tenant, account, read_at, templates) values ($1, $2, $3, $4)
on conflict (tenant, account) do update set read_at = excluded.read_at, templates = excluded.templates;

-- name: load_templates
-- Everything known of templates, by account; the newest report comes last.
select account, name, language, status, category, reported_at from account_templates where tenant = $1 order by reported_at;

-- name: listed_accounts
-- The accounts whose list of templates was ever read.
select account from template_readings where tenant = $1;

-- name: count_templates
-- Templates by Meta's word for their state, and how many Meta has moved to marketing.
select coalesce(status, 'APPROVED') as status, count(*) as templates,
    count(*) filter (where category = 'MARKETING' and previous_category <> 'MARKETING') as recategorised
from account_templates where tenant = $1 group by 1;

-- name: waiting_for_templates
-- Messages that wait for a template, by reason.
select reason, count(*) as messages from messages
where tenant = $1 and state = 'waiting' and reason in (
    'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
    'template_disabled', 'template_throttled'
)
group by reason;

-- name: save_quality
-- The number of a line, as WhatsApp describes it; ``since`` is when its quality was first read.
insert into line_quality as known (tenant, line, quality, since, throughput, read_at) values ($1, $2, $3, $4, $5, $4)
on conflict (tenant, line) do update
set quality = excluded.quality, throughput = coalesce(excluded.throughput, known.throughput), read_at = excluded.read_at,
    since = case when known.quality = excluded.quality then known.since else excluded.since end;

-- name: load_qualities
-- The quality of the number of each line, as last read.
select line, quality from line_quality where tenant = $1;

-- name: save_account_limits
-- The newest report of each limit.
insert into account_limits (tenant, account, kind, name, value, until, reported_at)
select $1, $2, l.kind, l.name, l.value, l.until, $3
from unnest($4::text[], $5::text[], $6::bigint[], $7::timestamptz[]) as l (kind, name, value, until)
on conflict (tenant, account, kind, name) do update
set value = excluded.value, until = excluded.until, reported_at = excluded.reported_at
where account_limits.reported_at <= excluded.reported_at;

-- name: load_account_limits
-- Every limit that was reported of the tenant's accounts.
select account, kind, name, value, until, reported_at from account_limits where tenant = $1;

-- name: release_limited
-- The next $4 messages after $3 that wait for a limit or a restriction of the account are judged again. Returns where to go on, 0
-- at the end.
with looked_at as materialized (
    select m.message_id, m.sequence from messages m
    where m.tenant = $1 and m.sequence > $3 and m.state = 'waiting' and m.reason in ('portfolio_limit', 'account_restricted')
    order by m.sequence limit $4
), released as (
    update messages m set not_before = $2, reason = null
    where m.tenant = $1 and m.message_id = any (array(select message_id from looked_at))
        and (m.state = 'waiting') is true and (m.reason in ('portfolio_limit', 'account_restricted')) is true
)
select case when count(*) = $4 then max(sequence) else 0 end from looked_at;

-- name: people_outside_windows
-- The people to whom a template may have gone since then, and when the last one did; the longest ago first.
select m.person_id, max(a.begun_at) as at
from attempts a
cross join lateral (
    select one.person_id from messages one where one.tenant = $1 and one.message_id = a.message_id limit 1
) as m
where (a.tenant = $1) is true and a.begun_at > $2 and a.wording = 'template'
    and (a.ending is null or a.ending not in ('not_written', 'refused'))
group by m.person_id order by at;

-- name: save_coverage
-- A heartbeat: the newest one says over which span the webhooks are complete, healed gaps included. One that ends an hour after
-- the machine time of now was noted before ingest's clock was set back: the next one takes its place.
insert into webhook_coverage (tenant, account, covered_since, covered_until) values ($1, $2, $3, $4)
on conflict (tenant, account) do update
set covered_since = excluded.covered_since, covered_until = excluded.covered_until
where webhook_coverage.covered_until <= excluded.covered_until or webhook_coverage.covered_until > $5::timestamptz + interval '1 hour';

-- name: save_gap
-- A gap: until a heartbeat covers it, nothing before it counts as complete. A gap that is reported after heartbeats for
-- its time revokes what they covered.
insert into webhook_coverage (tenant, account, covered_since, covered_until) values ($1, $2, $3, $3)
on conflict (tenant, account) do update
set covered_since = greatest(webhook_coverage.covered_until, $3),
    covered_until = greatest(webhook_coverage.covered_until, $3);

-- name: covered_span
-- The span over which the webhooks of every account are complete.
select max(covered_since) as since, min(covered_until) as until from webhook_coverage where tenant = $1;

-- name: caught_up_to
-- The business instant up to which these topics are read, once all their partitions are known.
select case when count(caught_up_to) = $2 then min(caught_up_to) end from progress where topic = any ($1::text[]);

-- name: waiting_for_limits
-- Messages that wait for a limit or a restriction of the account, by reason.
select reason, count(*) as messages from messages
where tenant = $1 and state = 'waiting' and reason in ('portfolio_limit', 'account_restricted')
group by reason;

-- name: count_warnings
-- Meta's warnings of the last days to the tenant's accounts.
select count(*) from account_limits where tenant = $1 and kind = 'warning' and until > $2;
