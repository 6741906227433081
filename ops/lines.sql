-- What `stet lines` reads, as the operator.

-- name: lines
-- Every line whose number WhatsApp has described, that has received a message, has sent one since $3, or has something
-- queued, throttled or paused.
-- A refused token, a limit of the account (whose lines are not known here) and a pause of the tenant hold all of them.
with recursive written as (
    (select line from dispatcher.windows where tenant = $1 order by line limit 1)
    union all
    select (select w.line from dispatcher.windows w where w.tenant = $1 and w.line > written.line order by w.line limit 1)
    from written where written.line is not null
), sent as (
    select m.line, max(a.begun_at) as last_send from dispatcher.attempts a
    join dispatcher.messages m on m.tenant = a.tenant and m.message_id = a.message_id
    where a.tenant = $1 and a.begun_at > $3
    group by m.line
), known as (
    select line from written where line is not null
    union
    select line from sent
    union
    select line from dispatcher.messages where tenant = $1 and state in ('waiting', 'intent', 'uncertain')
    union
    select subject from dispatcher.throttles where tenant = $1 and scope in ('number', 'pair') and until > $2
    union
    select name from dispatcher.pauses where tenant = $1 and kind = 'line'
    union
    select line from dispatcher.line_quality where tenant = $1
)
select known.line, queue.waiting, queue.oldest_waiting, queue.in_flight, queue.uncertain, sent.last_send,
    throttles.throttled_until, throttles.throttled_people, paused.since as paused_since, paused.who as paused_by,
    quality.quality, quality.since as quality_since, quality.throughput
from known
cross join lateral (
    select count(*) filter (where state = 'waiting') as waiting,
        min(requested_at) filter (where state = 'waiting') as oldest_waiting,
        count(*) filter (where state = 'intent') as in_flight,
        count(*) filter (where state = 'uncertain') as uncertain
    from dispatcher.messages m
    where m.tenant = $1 and m.line = known.line and m.state in ('waiting', 'intent', 'uncertain')
) as queue
left join sent on sent.line = known.line
cross join lateral (
    select max(until) filter (where scope <> 'pair') as throttled_until,
        count(*) filter (where scope = 'pair') as throttled_people
    from dispatcher.throttles t
    where t.tenant = $1 and t.until > $2
        and (t.scope = 'account' or t.subject = known.line and t.scope in ('number', 'pair'))
) as throttles
left join dispatcher.line_quality quality on quality.tenant = $1 and quality.line = known.line
left join lateral (
    select p.since, p.who from dispatcher.pauses p
    where p.tenant = $1 and (p.kind = 'tenant' or p.kind = 'line' and p.name = known.line)
    order by p.since limit 1
) as paused on true
order by known.line;

-- name: queue
-- What waits on one line, by template.
select say as template, (array['critical', 'normal', 'bulk'])[lane + 1] as lane, state, coalesce(reason, '') as reason, count(*) as messages, min(requested_at) as oldest
from dispatcher.messages
where tenant = $1 and line = $2 and state in ('waiting', 'intent', 'uncertain')
group by say, lane, state, reason
order by messages desc, say;

-- name: restrictions
-- What Meta restricts of the accounts now.
select account, name as restriction, until, reported_at from dispatcher.account_limits
where tenant = $1 and kind = 'restriction' and value > 0 and (until is null or until > $2)
order by account, name;

-- name: lift_restrictions
-- As if Meta had reported at $4 that these are lifted: an older report that comes late does not count any more.
update dispatcher.account_limits set value = 0, until = null, reported_at = greatest(reported_at, $4)
where tenant = $1 and account = $2 and kind = 'restriction' and name = any ($3::text[]) and value > 0
returning name;
