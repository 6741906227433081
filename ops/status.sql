-- What `stet status` and `stet drain` read, over all schemas, as the operator.

-- name: open_questions
-- Questions that wait for an answer, one for each chain and person, and since when the oldest does.
select count(*) as count, min(requested_at) as oldest from (
    select distinct on (c.chain_id, m ->> 'person_id') (m ->> 'requested_at')::timestamptz as requested_at
    from rules.chains c cross join lateral jsonb_array_elements(c.document -> 'outgoing') as m
    where c.tenant = $1 and c.active and jsonb_array_length(coalesce(m -> 'buttons', '[]')) > 0
        and not coalesce((m ->> 'closed')::boolean, false)
        and m ->> 'delivery' in ('requested', 'uncertain', 'accepted', 'delivered', 'read')
        and not exists (
            select from jsonb_array_elements(coalesce(c.document -> 'given', '[]')) as g
            where g ->> 'person_id' = m ->> 'person_id' and (g ->> 'final')::boolean
        )
    order by c.chain_id, m ->> 'person_id', m ->> 'requested_at'
) as questions;

-- name: chains
-- Chains that run, that are due and not run, and that were set aside.
select count(*) filter (where c.live) as live,
    count(*) filter (where c.next_due <= $2 and not paused.it) as overdue,
    min(c.next_due) filter (where c.next_due <= $2 and not paused.it) as oldest_overdue,
    count(*) filter (where c.next_due <= $2 and paused.it) as paused,
    min(c.next_due) filter (where c.next_due <= $2 and paused.it) as oldest_paused
from rules.chains c
cross join lateral (
    select exists (
        select from rules.pauses p
        where p.tenant = c.tenant and (p.kind = 'tenant' or p.kind = 'rule' and p.name = c.rule)
    ) as it
) as paused
where c.tenant = $1 and (c.live or c.next_due is not null);

-- name: set_aside_chains
-- As rules counts them.
select count(*) as count, min(s.set_aside_at) as oldest
from rules.chains_set_aside s join rules.chains c using (chain_id)
where c.tenant = $1 and c.next_due is null and c.document ? 'next_due';

-- name: left_out
-- People that a step of a running chain did not reach.
select count(*) as count
from rules.chains c
cross join lateral jsonb_array_elements(c.document -> 'steps') as s
cross join lateral jsonb_object_keys(coalesce(s -> 'left_out', '{}'))
where c.tenant = $1 and c.active;

-- name: handovers
-- Matters that were offered to people, and that none of them has taken.
select count(*) as count, min((c.document -> 'handed_over' -> -1 ->> 'at')::timestamptz) as oldest
from rules.chains c
where c.tenant = $1 and c.active and jsonb_array_length(coalesce(c.document -> 'handed_over', '[]')) > 0
    and not c.document ? 'taken';

-- name: waiting_events
select count(*) as count, min(since) as oldest from rules.waiting where tenant = $1;

-- name: revisions
-- The revision in force, and since when.
select revision, activated_at from rules.rulebook_activations order by number desc limit 1;

-- name: trials
-- The newest trial of each kind: one that is under way, or that was turned back by itself.
select kind, revision, started_at, ended_at, cause from (
    select distinct on (kind) kind, revision, started_at, ended_at, result, cause
    from rules.rulebook_trials where tenant = $1 order by kind, number desc
) as newest
where ended_at is null or result = 'turned_back';

-- name: held_revisions
-- What a source holds that was never in force: it waits for a promotion.
select distinct s.revision from rules.rulebook_sources s
where s.tenant = $1 and s.refused is null and s.revision is not null and s.read_at > now() - interval '1 day'
    and not exists (
        select from rules.rulebook_activations a where a.tenant = s.tenant and a.revision = s.revision
    );

-- name: messages
-- The queue of the dispatcher.
select count(*) filter (where state = 'waiting' and reason is distinct from 'paused_by_operator') as waiting,
    min(requested_at) filter (where state = 'waiting' and reason is distinct from 'paused_by_operator') as oldest_waiting,
    count(*) filter (where state = 'waiting' and reason = 'paused_by_operator') as paused,
    min(requested_at) filter (where state = 'waiting' and reason = 'paused_by_operator') as oldest_paused,
    count(*) filter (where state = 'waiting' and reason in ('marketing_limit', 'marketing_paused')) as marketing,
    min(requested_at) filter (where state = 'waiting' and reason in ('marketing_limit', 'marketing_paused')) as oldest_marketing,
    count(*) filter (where state = 'intent') as in_flight,
    count(*) filter (where state = 'uncertain') as uncertain,
    min(changed_at) filter (where state = 'uncertain') as oldest_uncertain,
    count(*) filter (where set_aside is not null) as set_aside
from dispatcher.messages
where tenant = $1 and (state in ('waiting', 'intent', 'uncertain') or set_aside is not null);

-- name: held_messages
-- Messages that wait for what only a person can change, by reason.
select reason, count(*) as count, min(requested_at) as oldest from dispatcher.messages
where tenant = $1 and state = 'waiting' and reason = any($2)
group by reason
order by reason;

-- name: templates
-- Templates that Meta has not approved, has paused, or has moved to marketing.
select name, language, coalesce(status, 'APPROVED') as state, reported_at, category, previous_category, categorised_at
from dispatcher.account_templates
where tenant = $1 and (
    status not in ('APPROVED', 'FLAGGED', 'REINSTATED') or category = 'MARKETING' and previous_category <> 'MARKETING'
)
order by name, language, account;

-- name: throttles
-- What WhatsApp has told us to wait for: the account, a line, a template in a language, some people on a line, or
-- marketing to some people.
select scope, case scope when 'marketing' then '' else subject end as subject, case scope when 'template' then detail else '' end as detail, count(*) as count,
    max(until) as until, max(code) as code, bool_or(by_operator) as needs_operator
from dispatcher.throttles
where tenant = $1 and until > $2
group by 1, 2, 3
order by max(until);

-- name: qualities
-- The lines whose number people block or report so often that Meta rates it low, and since when that is known.
select line, quality, since from dispatcher.line_quality where tenant = $1 and quality in ('YELLOW', 'RED') order by line;

-- name: messaging_limits
-- How many people Meta lets a business write to in a day outside the 24-hour window, as it was last reported of each account.
select account, value, reported_at from dispatcher.account_limits where tenant = $1 and kind = 'messaging' order by account;

-- name: restrictions
-- What Meta restricts of the accounts: nothing leaves that the restriction names, until its end or another report.
select account, name, until, reported_at from dispatcher.account_limits
where tenant = $1 and kind = 'restriction' and value > 0 and (until is null or until > $2)
order by account, name;

-- name: account_warnings
-- What Meta has warned the accounts of in the last days, before it restricts them.
select account, name, reported_at from dispatcher.account_limits
where tenant = $1 and kind = 'warning' and until > $2
order by account, reported_at;

-- name: writes
-- The queue of writeback: what can go on, what waits behind a task.
select count(*) filter (where w.state = 'queued' and not behind.it) as queued,
    min(w.requested_at) filter (where w.state in ('queued', 'intent') and not behind.it) as oldest_queued,
    count(*) filter (where w.state = 'intent') as in_flight,
    count(*) filter (where w.state = 'queued' and behind.it) as behind_tasks
from writeback.writes w
cross join lateral (
    select exists (
        select from writeback.writes task
        where task.state = 'manual' and task.tenant = w.tenant and task.record = w.record and task.sequence < w.sequence
    ) as it
) as behind
where w.tenant = $1 and w.state in ('queued', 'intent');

-- name: tasks
select count(*) as count, min(opened_at) as oldest from writeback.tasks where tenant = $1 and closed_at is null;

-- name: webhook
-- How far the webhook is covered, and a gap that is open; machine time.
select account, until, gap_since from ingest.webhook_coverage where tenant = $1;

-- name: polls
-- The pass over each kind of record that is under way, or was completed.
select entity, started_at, completed_at from ingest.passes where tenant = $1 order by entity;

-- name: parked
select count(*) as count, min(parked_at) as oldest from SCHEMA.parked where state = 'parked';

-- name: outbox
select count(*) as count, min(written_at) as oldest from (select written_at from SCHEMA.outbox order by id limit 10000) o;

-- name: progress
select topic, partition, next_offset from SCHEMA.progress;

-- name: pauses
-- What operators have paused, with who and why. A tenant is paused in three schemas and listed once.
select distinct on (kind, name) kind, name, since, who, reason from (
    select kind, name, since, who, reason from rules.pauses where tenant = $1
    union all
    select kind, name, since, who, reason from dispatcher.pauses where tenant = $1
    union all
    select kind, name, since, who, reason from writeback.pauses where tenant = $1
) as all_pauses
order by kind, name, since;

-- name: lock_holders
-- How many sessions hold an advisory lock, given as its two halves.
select count(*) from pg_locks
where locktype = 'advisory' and granted and objsubid = 1 and classid = $1::bigint::oid and objid = $2::bigint::oid
    and database = (select oid from pg_database where datname = current_database());
