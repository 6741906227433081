-- What `stet lines` reads, as the operator.

-- name: lines
-- Every line that has received a message, or that has something queued, throttled or paused; in each a few index reads.
with recursive written as (
    (select line from dispatcher.windows where tenant = $1 order by line limit 1)
    union all
    select (select w.line from dispatcher.windows w where w.tenant = $1 and w.line > written.line order by w.line limit 1)
    from written where written.line is not null
), known as (
    select line from written where line is not null
    union
    select line from dispatcher.messages where tenant = $1 and state in ('waiting', 'intent', 'uncertain')
    union
    select subject from dispatcher.throttles where tenant = $1 and scope in ('number', 'pair') and until > $2
    union
    select name from dispatcher.pauses where tenant = $1 and kind = 'line'
)
select known.line, queue.waiting, queue.oldest_waiting, queue.in_flight, queue.uncertain, attempts.last_send,
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
cross join lateral (
    select max(a.begun_at) as last_send from dispatcher.attempts a
    join dispatcher.messages m on m.tenant = a.tenant and m.message_id = a.message_id
    where a.tenant = $1 and m.line = known.line and a.begun_at > $3
) as attempts
cross join lateral (
    select max(until) filter (where scope = 'number') as throttled_until,
        count(*) filter (where scope = 'pair') as throttled_people
    from dispatcher.throttles t where t.tenant = $1 and t.subject = known.line and t.until > $2
) as throttles
left join dispatcher.line_quality quality on quality.tenant = $1 and quality.line = known.line
left join dispatcher.pauses paused on paused.tenant = $1 and paused.kind = 'line' and paused.name = known.line
order by known.line;

-- name: queue
-- What waits on one line, by template.
select say as template, lane, state, coalesce(reason, '') as reason, count(*) as messages, min(requested_at) as oldest
from dispatcher.messages
where tenant = $1 and line = $2 and state in ('waiting', 'intent', 'uncertain')
group by say, lane, state, reason
order by messages desc, say;
