-- Queries of store.py, delivery_evidence.py, leader.py and pauses.py, in the order of their tables.
--
-- The queue is empty at night and long a minute later, so what PostgreSQL estimates of it is wrong when it matters. Where
-- a row is known by its key, a query leaves no other way: ``(select … limit 1) is null`` and ``lateral (… limit 1)`` are
-- looked up row by row where a join might read the whole queue, and ``(state = 'waiting') is true`` cannot be answered by
-- an index of the queue. Where a small index of another column has all the rows that are wanted, ``(tenant = $1) is true``
-- keeps the larger ones, which begin with the tenant, from being read. Where many rows are known by their keys and nearly no
-- row waits, ``case when state = 'waiting' then true end`` says nothing of that to PostgreSQL, which would expect one row and
-- compare each with each.

-- ------------------------------------------------------------------ messages: the queue

-- name: add_messages
-- New messages, to the ids that people have now. One that is known already, or was withdrawn before it came, stays as it is.
-- Many have the same hours: each of $23 is read once, and a message has the number of its own, from 1, or none.
with hours as materialized (
    select h.number, h.spans::timestamptz[] as spans from unnest($23::text[]) with ordinality as h (spans, number)
)
insert into messages (
    tenant, message_id, person_id, line, lane, state, content, button_ids, template_name, template_language,
    resend, requested_at, expires_at, not_before, changed_at, request_event, correlation_id, traceparent, say, rule, chain,
    document_id, mandatory, decided_at, open_hours
)
select
    $1, n.message_id, coalesce((select p.current_id from people p where p.tenant = $1 and p.person_id = n.person_id), n.person_id),
    n.line, n.lane, 'waiting', n.content, string_to_array(n.button_ids, e'\x1f'),
    n.template_name, n.template_language, n.resend, $2, n.expires_at, $2, $2, n.request_event, n.correlation_id,
    n.traceparent, n.say, n.rule, n.chain, n.document_id, n.mandatory, n.decided_at, h.spans
from unnest(
    $3::text[], $4::text[], $5::text[], $6::smallint[], $7::json[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
    $19::text[], $20::boolean[], $21::timestamptz[], $22::integer[]
) with ordinality as n (
    message_id, person_id, line, lane, content, button_ids, template_name, template_language,
    resend, expires_at, request_event, correlation_id, traceparent, say, rule, chain, document_id, mandatory, decided_at,
    hours, place
)
left join hours h on h.number = n.hours
where (select true from withdrawals w where w.tenant = $1 and w.message_id = n.message_id limit 1) is null
order by n.place
on conflict (tenant, message_id) do nothing;

-- name: lock_messages
-- Those of these messages that are known, locked in one order: what amends or withdraws several takes them in several steps.
select message_id from messages where tenant = $1 and message_id = any ($2::text[])
order by message_id
for update;

-- name: lock_templates_of_open
-- The contents of those of these messages that have a template and may still go, locked in one order; ``amended`` are the numbers
-- of the amendments that they have, by field.
select message_id, content::text as content, amended::text as amended from messages
where tenant = $1 and message_id = any ($2::text[]) and (state in ('waiting', 'intent', 'uncertain')) is true
    and template_name is not null and set_aside is null
order by message_id
for update;

-- name: save_contents
-- The contents of locked messages; one that waits for its template, or since it is marketing, is planned again.
update messages m
set content = c.content, amended = c.amended,
    not_before = case when m.state = 'waiting' and m.reason ~ '^(template|marketing)_' then $2 else m.not_before end,
    reason = case when m.state = 'waiting' and m.reason ~ '^(template|marketing)_' then null else m.reason end
from unnest($3::text[], $4::json[], $5::jsonb[]) as c (message_id, content, amended)
where m.tenant = $1 and m.message_id = any ($3::text[]) and m.message_id = c.message_id;

-- name: save_open_hours
-- The hours of those of these messages that may still go, locked in one order; one that waits for its hours is planned again.
-- Hours of an older amendment than those that a message has change nothing; one without a number (0) is taken as it comes.
with locked as materialized (
    select message_id from messages
    where tenant = $1 and message_id = any ($3::text[]) and (state in ('waiting', 'intent', 'uncertain')) is true
        and set_aside is null
    order by message_id
    for no key update
)
update messages m
set open_hours = h.open_hours::timestamptz[],
    amended = case h.number
        when 0 then m.amended else coalesce(m.amended, '{}') || jsonb_build_object('open_hours', h.number)
    end,
    not_before = case when m.state = 'waiting' and m.reason = 'quiet_hours' then $2 else m.not_before end,
    reason = case when m.state = 'waiting' and m.reason = 'quiet_hours' then null else m.reason end
from unnest($3::text[], $4::text[], $5::bigint[]) as h (message_id, open_hours, number)
where m.tenant = $1 and m.message_id = any (array(select message_id from locked)) and m.message_id = h.message_id
    and (h.number = 0 or h.number >= coalesce((m.amended ->> 'open_hours')::bigint, 0));

-- name: add_early_withdrawals
-- Withdrawals that came before their message; they keep it out of the queue.
insert into withdrawals (tenant, message_id, reason, at)
select $1, w.message_id, w.reason, $2 from unnest($3::text[], $4::text[]) as w (message_id, reason)
on conflict (tenant, message_id) do nothing;

-- name: add_early_amendments
-- Amendments that came before their message, unless it was withdrawn before, too. What one does not say stays, and so does what
-- one with a higher number said; ``numbers`` are those of their fields.
insert into early_amendments (tenant, message_id, person_id, amendment, at)
select $1, a.message_id, a.person_id, a.amendment, $2
from unnest($3::text[], $4::text[], $5::jsonb[]) as a (message_id, person_id, amendment)
where (select true from withdrawals w where w.tenant = $1 and w.message_id = a.message_id limit 1) is null
order by a.message_id
on conflict (tenant, message_id) do update
set person_id = excluded.person_id, at = excluded.at, amendment = (
    select early_amendments.amendment || (excluded.amendment - older.fields) || jsonb_build_object(
        'numbers', known.numbers || (coalesce(excluded.amendment -> 'numbers', '{}') - older.fields)
    )
    from (select coalesce(early_amendments.amendment -> 'numbers', '{}') as numbers) as known
    cross join lateral (
        select array(
            select given.key from jsonb_each_text(excluded.amendment -> 'numbers') as given
            where given.value::bigint < (known.numbers ->> given.key)::bigint
        ) as fields
    ) as older
);

-- name: take_early_amendments
-- Early amendments of these messages, returned once.
delete from early_amendments where tenant = $1 and message_id = any ($2::text[]) returning amendment::text as amendment;

-- name: matched_early_amendments
-- Messages that were committed in the moment in which an amendment of them was kept: neither transaction saw the other.
select e.message_id from early_amendments e
where e.tenant = $1
    and (select true from messages m where m.tenant = $1 and m.message_id = e.message_id limit 1)
order by e.message_id limit $2;

-- name: matched_early_withdrawals
-- Withdrawals kept since $2 whose message was committed in that moment, and may still go.
select w.message_id, w.reason from withdrawals w
where w.tenant = $1 and w.at >= $2 and (
    select m.state in ('waiting', 'intent') from messages m where m.tenant = $1 and m.message_id = w.message_id limit 1
)
order by w.at limit $3;

-- name: delete_old_early_amendments
-- Amendments that never found a message: its request is on the topic no more.
delete from early_amendments
where ctid = any (array(select ctid from early_amendments where tenant = $1 and at < $2 order by at limit $3));

-- name: has_less_urgent
-- Whether anything waits on these lines, or is in flight, in a less urgent lane than $3. Mostly nothing does, and to look at each
-- chat (raise_earlier) costs ten times as much.
select exists (
    select from unnest($2::text[]) as lines (line)
    where (select max(m.lane) from messages m where m.tenant = $1 and m.state = 'waiting' and m.line = lines.line) > $3
) or exists (
    select from messages where (tenant = $1) is true and state = 'intent' and lane > $3
);

-- name: raise_earlier
-- A message that waits in a less urgent lane before one of these new messages, in the same chat, goes in the lane of the new one,
-- which may have a share of the portfolio's people kept for it.
with chats as (
    select coalesce((
        select p.current_id from people p where p.tenant = $1 and p.person_id = new.person_id
    ), new.person_id) as person_id, new.line
    from unnest($3::text[], $4::text[]) as new (person_id, line)
), earlier as (
    select e.message_id, (
        select min(n.lane) from messages n
        where n.tenant = $1 and n.message_id = any ($2::text[]) and n.person_id = e.person_id and n.line = e.line
            and n.sequence > e.sequence
    ) as lane
    from messages e
    where e.tenant = $1 and e.state in ('waiting', 'intent') and e.lane > $5
        and e.person_id = any (array(select person_id from chats)) and (e.person_id, e.line) in (select * from chats)
    order by e.message_id
    for update
)
update messages m
set lane = earlier.lane, requested_lane = coalesce(m.requested_lane, m.lane),
    not_before = case when m.reason in ('portfolio_limit', 'budget_spent', 'template_throttled') then $6 else m.not_before end
from earlier
where m.tenant = $1 and m.message_id = any (array(select message_id from earlier))
    and m.message_id = earlier.message_id and m.lane > earlier.lane;

-- name: find_due
-- Messages that may go now in lanes with capacity, by age: critical ones first, then, while both wait, nine normal ones for
-- one of bulk; ``head_start`` is what earlier claims owe to the bulk. Never one of a person with a send in flight, and never
-- before an earlier message of the same chat that still waits, for whatever reason (earlier_messages). Only where a chain
-- waits for one of the reasons $10 may messages of other chains pass it. What stands before a message, its person
-- and its window are found by their keys, one by one: a join that is planned while the tables are small reads all of them. Its
-- template is looked up once for all messages of it: it is that of the account $12 of its line, or the newest report of any.
-- Of each lane the first $11 are looked at; ``place`` is a message's place among them (hold_followers).
-- No message is held for an hour or longer: where ``hold_until`` is further ahead, the clock has been set back since, and the
-- message may go now.
with due as materialized (
    select d.*, case d.lane when 0 then 0 when 1 then 1 else 9 end
        * row_number() over (partition by d.line, d.lane order by d.not_before, d.sequence)
        - open_lanes.head_start as turn, coalesce(open_lanes.account, '') as account
    from unnest($2::text[], $3::smallint[], $4::integer[], $5::integer[], $12::text[])
        as open_lanes (line, lane, capacity, head_start, account)
    cross join lateral (
        select q.*
        from (
            select looked_at.*, row_number() over (order by looked_at.not_before, looked_at.sequence) as place
            from (
                select one.tenant, one.message_id, one.sequence, one.person_id, one.line, one.lane, one.content,
                    one.requested_at, one.expires_at, one.not_before, one.template_only, one.attempts,
                    one.template_name, one.template_language, one.traceparent, one.mandatory, one.chain,
                    one.request_event, one.correlation_id, one.rule, coalesce(one.requested_lane, one.lane) as asked_lane,
                    coalesce(one.decided_at, one.requested_at) as decided_at, one.open_hours, one.xmin::text as row_version
                from messages one
                where one.state = 'waiting' and one.line = open_lanes.line and one.lane = open_lanes.lane
                    and one.not_before <= $6 and (one.hold_until between $7 and $7 + interval '1 hour') is not true
                    and one.tenant = $1 and one.set_aside is null and one.person_id not in (select unnest($8::text[]))
                order by one.not_before, one.sequence
                limit $11
            ) as looked_at
        ) as q
        where (
            select true from earlier_messages($1, q.person_id, q.line, q.chain, q.sequence, $10::text[]) limit 1
        ) is null
        order by q.not_before, q.sequence
        limit open_lanes.capacity
    ) as d
    order by turn, d.lane, d.not_before, d.sequence
    limit $9
), known as materialized (
    select d.template_name, d.template_language, d.account, one.status, one.category
    from (select distinct template_name, template_language, account from due) as d
    cross join lateral (
        select t.status, t.category from account_templates t
        where t.tenant = $1 and t.name = d.template_name and t.language = d.template_language
            and d.account in ('', t.account)
        order by t.reported_at desc limit 1
    ) as one
)
select m.message_id, m.person_id, m.line, m.lane, m.content, m.requested_at, m.expires_at, m.template_only, m.attempts,
    m.mandatory, m.open_hours, m.request_event, m.correlation_id, m.traceparent, m.rule, m.asked_lane, m.decided_at, m.place,
    m.row_version, w.opened_at, t.status as template_status, t.category as template_category,
    case when p.current_id is null then p.person_id else c.person_id end as known,
    coalesce(p.current_id, m.person_id) as recipient, coalesce(c.phone, p.phone) as phone,
    coalesce(c.bsuid, p.bsuid) as bsuid, coalesce(c.version, p.version) as version
from due m
left join lateral (
    select * from people one where one.tenant = m.tenant and one.person_id = m.person_id limit 1
) as p on true
left join lateral (
    select * from people one where one.tenant = m.tenant and one.person_id = p.current_id limit 1
) as c on true
left join lateral (
    select opened_at from windows one
    where one.tenant = m.tenant and one.line = m.line and one.person_id = coalesce(p.current_id, m.person_id) limit 1
) as w on true
left join known t on t.template_name = m.template_name and t.template_language = m.template_language and t.account = m.account
order by m.turn, m.lane, m.not_before, m.sequence;

-- name: hold_followers
-- Of the first $6 due messages of these lanes, those behind an earlier one of their chat that waits too wait until $5 at most:
-- a claim that passed each of them again would cost as much as the queue is long. Where they are fewer than $7, or than half of
-- what is looked at, they stay.
-- Messages that wait before them are locked, so that none ends meanwhile without releasing them; nothing is waited for.
with due as materialized (
    select d.* from unnest($2::text[], $3::smallint[]) as open_lanes (line, lane)
    cross join lateral (
        select one.message_id, one.sequence, one.person_id, one.line, one.chain
        from messages one
        where one.state = 'waiting' and one.line = open_lanes.line and one.lane = open_lanes.lane
            and one.not_before <= $4 and (one.hold_until between $9 and $9 + interval '1 hour') is not true
            and one.tenant = $1 and one.set_aside is null and one.person_id not in (select unnest($10::text[]))
        order by one.not_before, one.sequence
        limit $6
    ) as d
), followers as materialized (
    select q.message_id, earlier.message_id as earlier
    from due as q
    cross join lateral (
        select e.message_id from earlier_messages($1, q.person_id, q.line, q.chain, q.sequence, $8::text[]) as e
        where (e.state = 'waiting') is true
        limit 1
    ) as earlier
), earlier as materialized (
    select e.message_id from messages e
    where e.tenant = $1 and e.message_id = any (array(select distinct earlier from followers))
        and (select count(*) from followers) >= greatest($7, (select count(*) from due) / 2)
        and (e.state = 'waiting') is true and e.set_aside is null
    for share skip locked
), waiting as materialized (
    select w.message_id from messages w
    where w.tenant = $1 and w.message_id = any (array(
            select f.message_id from followers f where f.earlier = any (array(select message_id from earlier))
        ))
        and (w.state = 'waiting') is true
    for no key update skip locked
), held as (
    update messages m set not_before = least(m.expires_at, $5), reason = 'earlier_message'
    where m.tenant = $1 and m.message_id = any (array(select message_id from waiting)) and (m.state = 'waiting') is true
    returning m.message_id
)
select count(*) from held;

-- name: release_followers
-- Messages that were held behind earlier ones of these chats, and may go now: one message of each, the next, at its old place.
with next as materialized (
    select f.message_id from unnest($2::text[], $3::text[]) as chats (person_id, line)
    cross join lateral (
        select q.message_id from messages q
        where q.tenant = $1 and q.person_id = chats.person_id and q.line = chats.line
            and q.state = 'waiting' and q.reason = 'earlier_message'
            and (
                select true from earlier_messages($1, q.person_id, q.line, q.chain, q.sequence, $4::text[]) limit 1
            ) is null
        order by q.sequence
        limit 1
    ) as f
)
update messages m set not_before = m.requested_at, reason = null
where m.tenant = $1 and m.message_id = any (array(select message_id from next)) and (m.state = 'waiting') is true
    and (m.reason = 'earlier_message') is true;

-- name: release_other_chains
-- Messages that were held behind these and may pass them now, since they belong to other chains.
update messages m set not_before = m.requested_at, reason = null
where m.tenant = $1 and (m.state = 'waiting') is true and m.message_id = any (array(
    select f.message_id
    from unnest($2::text[]) as passed (message_id)
    cross join lateral (
        select one.person_id, one.line, one.chain from messages one
        where one.tenant = $1 and one.message_id = passed.message_id limit 1
    ) as p
    join messages f on f.tenant = $1 and f.person_id = p.person_id and f.line = p.line
        and f.state = 'waiting' and f.reason = 'earlier_message' and (f.chain = p.chain) is not true
));

-- name: begin_attempts
-- Intents: each message that still waits gets its attempt number, its lease and an attempt row. Messages that were
-- withdrawn meanwhile are left out.
with begun as (
    update messages m
    set state = 'intent', reason = null, attempts = m.attempts + 1, wording = b.wording, lease_until = $4,
        changed_at = $2, hold_until = null, wamid = null, rank = 0, used_template = b.template, used_language = b.language
    from unnest($5::text[], $6::text[], $7::text[], $8::text[]) as b (message_id, wording, template, language)
    where m.tenant = $1 and m.message_id = any ($5::text[]) and m.message_id = b.message_id
        and case when m.state = 'waiting' then true end
    returning m.message_id, m.attempts, m.wording
), recorded as (
    insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)
    select $1, message_id, attempts, wording, $2, $3, $4 from begun
)
select message_id, attempts from begun;

-- name: postpone
-- Messages that the planner lets wait: until when, and why. One whose row has changed since it was read stays due, and is planned
-- again: its lane, its fallback or its person may be another, or its person has written (release_for_windows).
update messages m
set not_before = d.not_before, reason = d.reason
from unnest($2::text[], $3::timestamptz[], $4::text[], $5::text[]) as d (message_id, not_before, reason, row_version)
where m.tenant = $1 and m.message_id = any ($2::text[]) and m.message_id = d.message_id and m.xmin::text = d.row_version
    and case when m.state = 'waiting' then true end;

-- name: release_crossed
-- Of the next $4 messages after $3 that wait for a person, a document or an earlier message, those that began to in the moment it
-- came or went: neither transaction saw the other. Returns where to go on, 0 at the end.
with looked_at as materialized (
    select m.message_id, m.sequence, m.reason, m.person_id, m.line, m.document_id, m.chain
    from messages m
    where m.tenant = $1 and m.sequence > $3 and m.state = 'waiting'
        and m.reason in ('unknown_person', 'document_pending', 'earlier_message')
    order by m.sequence limit $4
), crossed as materialized (
    select l.message_id, l.reason from looked_at as l
    where case l.reason
        when 'unknown_person' then (
            select true from people p where p.tenant = $1 and p.person_id = l.person_id limit 1
        )
        when 'document_pending' then (
            select true from documents d
            where d.tenant = $1 and d.line = l.line and d.document_id = l.document_id and d.state <> 'waiting'
            limit 1
        )
        else (
            select true from earlier_messages($1, l.person_id, l.line, l.chain, l.sequence, $5::text[]) limit 1
        ) is null
    end
), released as (
    update messages m
    set not_before = case crossed.reason when 'earlier_message' then m.requested_at else $2 end, reason = null
    from crossed
    where m.tenant = $1 and m.message_id = any (array(select message_id from crossed))
        and m.message_id = crossed.message_id and m.reason = crossed.reason
        and (m.state = 'waiting') is true and m.not_before > $2
)
select case when count(*) = $4 then max(sequence) else 0 end from looked_at;

-- name: release_far_ahead
-- Of the $5 messages that wait the longest, below the place ($3, $4), those are planned again that came by a clock that has been set
-- back since; where $6, all of them, since an earlier look at the clock showed a later instant. Returns the place to go on from.
with looked_at as materialized (
    select m.message_id, m.not_before, m.sequence, m.requested_at > $2::timestamptz + interval '1 hour' as came_ahead
    from messages m
    where m.tenant = $1 and m.state = 'waiting' and m.not_before > $2 + interval '1 hour'
        and (m.not_before, m.sequence) < ($3::timestamptz, $4::bigint)
    order by m.not_before desc, m.sequence desc limit $5
), released as (
    update messages m set not_before = $2, reason = null, requested_at = least(m.requested_at, $2)
    where m.tenant = $1 and m.message_id = any (array(select message_id from looked_at where came_ahead or $6))
        and (m.state = 'waiting') is true and m.not_before > $2 + interval '1 hour'
    returning m.message_id
)
select not_before, sequence, (select count(*) from looked_at) = $5 as has_more, (select count(*) from released) as released
from looked_at order by not_before, sequence limit 1;

-- name: find_expired
-- Waiting messages whose time is over, whatever they wait for. Their index is for this query alone (0031_expiring_messages.sql).
select message_id, reason from messages
where (tenant = $1) is true and (state = 'waiting') is true and set_aside is null
    and expires_at > '-infinity' and expires_at <= $2
order by expires_at limit $3;

-- name: find_on_unknown_lines
-- Waiting messages of lines that are not configured. The lines are found one by one in the index of the queue, because to
-- look at every message of a long queue four times a second would cost more than to send it.
with recursive known (line) as (
    select min(line) from messages where tenant = $1 and state = 'waiting'
    union all
    select (select min(m.line) from messages m where m.tenant = $1 and m.state = 'waiting' and m.line > known.line)
    from known where known.line is not null
)
select m.message_id
from known
cross join (values (0::smallint), (1::smallint), (2::smallint)) as lanes (lane)
cross join lateral (
    select one.message_id from messages one
    where one.tenant = $1 and one.state = 'waiting' and one.line = known.line and one.lane = lanes.lane
        and one.not_before <= $3 and one.set_aside is null
    order by one.not_before, one.sequence limit $4
) as m
where known.line <> all ($2::text[])
limit $4;

-- name: line_schedules
-- Per line and lane: the next instant at which a message may go (business time), not before the earlier ones of its chat
-- (but for those that wait for the reasons $2), and the first expiry. For a development clock; the cost grows with the
-- square of a chat's length.
select q.line, q.lane, min(q.expires_at) as expires, min(greatest(q.not_before, (
    select max(e.not_before) from earlier_messages($1, q.person_id, q.line, q.chain, q.sequence, $2::text[]) as e
    where e.state = 'waiting'
))) as next
from messages q where q.tenant = $1 and q.state = 'waiting' and q.set_aside is null group by q.line, q.lane;

-- name: waiting_by_lane
-- How many messages of each lane wait, and when the oldest was decided on, but for those that wait for the month's budget, for
-- Meta to deliver marketing to their person, or at $2 for their person's hours.
select coalesce(requested_lane, lane) as lane, count(*) as waiting,
    min(coalesce(decided_at, requested_at))
        filter (where coalesce(reason, '') not in ('budget_spent', 'marketing_limit', 'marketing_paused')
            and (reason is distinct from 'quiet_hours' or not_before <= $2))
        as oldest
from messages where tenant = $1 and state = 'waiting' and set_aside is null group by 1;

-- name: count_set_aside
-- Messages that no loop reads.
select count(*) from messages where tenant = $1 and set_aside is not null;

-- name: set_aside
-- Marks a message that a loop cannot handle, so that no loop reads it again.
update messages set set_aside = $3 where tenant = $1 and message_id = $2 returning person_id, line;

-- ------------------------------------------------------------------ messages: states and attempts

-- name: load_messages
-- Messages, locked in one order so that two batches never deadlock.
select message_id, person_id, line, state, reason, resend, expires_at, not_before, hold_until, lease_until, attempts,
    wording, template_only, wamid, rank, failed_attempt, failed_code, withdrawal, failures, template_name, template_language,
    used_template, used_language, request_event, correlation_id, traceparent, rule, coalesce(requested_lane, lane) as lane,
    coalesce(decided_at, requested_at) as decided_at, open_hours
from messages
where tenant = $1 and message_id = any ($2::text[])
order by message_id
for update;

-- name: save_messages
-- The new state of locked messages, and whether anything is held behind an earlier message. (The list of ids is repeated so
-- that the query plan never scans the table.)
with saved as (
    update messages m
    set state = s.state, reason = s.reason, not_before = s.not_before, hold_until = s.hold_until, wamid = s.wamid,
        rank = s.rank, failed_attempt = s.failed_attempt, failed_code = s.failed_code,
        template_only = s.template_only, withdrawal = s.withdrawal, failures = s.failures, changed_at = $2
    from unnest(
        $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::smallint[],
        $10::integer[], $11::integer[], $12::boolean[], $13::text[], $14::integer[]
    ) as s (
        message_id, state, reason, not_before, hold_until, wamid, rank, failed_attempt, failed_code, template_only,
        withdrawal, failures
    )
    where m.tenant = $1 and m.message_id = any ($3::text[]) and m.message_id = s.message_id
)
select exists (select from messages where tenant = $1 and state = 'waiting' and reason = 'earlier_message');

-- name: end_attempts
-- How attempts ended; a later proof overwrites an earlier "uncertain".
update attempts a
set ending = e.ending, wamid = coalesce(e.wamid, a.wamid), code = e.code, ended_at = $2
from unnest($3::text[], $4::integer[], $5::text[], $6::text[], $7::integer[])
    as e (message_id, attempt, ending, wamid, code)
where a.tenant = $1 and a.message_id = any ($3::text[]) and a.message_id = e.message_id and a.attempt = e.attempt;

-- name: accept_attempts
-- Ends these attempts as accepted, and their messages with them, where each is its message's newest and nothing else has
-- happened to the message since it began; says so of each, and whether anything is held behind an earlier message. The others
-- are left to load_messages, in whose order these are locked.
with locked as materialized (
    select m.message_id from messages m
    where m.tenant = $1 and m.message_id = any ($3::text[]) and case when m.state = 'intent' then true end
    order by m.message_id
    for no key update
), accepted as (
    update messages m
    set state = 'accepted', reason = null, wamid = a.wamid, rank = 0, changed_at = $2
    from unnest($3::text[], $4::integer[], $5::text[]) as a (message_id, attempt, wamid)
    where m.tenant = $1 and m.message_id = any (array(select message_id from locked)) and m.message_id = a.message_id
        and m.attempts = a.attempt and case when m.state = 'intent' then true end and m.withdrawal is null
    returning m.message_id, m.person_id, m.line
), ended as (
    update attempts t
    set ending = 'accepted', wamid = a.wamid, code = null, ended_at = $2
    from unnest($3::text[], $4::integer[], $5::text[]) as a (message_id, attempt, wamid)
    where t.tenant = $1 and t.message_id = any (array(select message_id from accepted)) and t.message_id = a.message_id
        and t.attempt = a.attempt
)
select message_id, person_id, line, exists (
    select from messages where tenant = $1 and state = 'waiting' and reason = 'earlier_message'
) as are_any_held
from accepted;

-- name: attempts_of_wamids
-- The attempt that each wamid belongs to.
select wamid, message_id, attempt from attempts where tenant = $1 and wamid = any ($2::text[]);

-- name: unproven_with_buttons
-- Messages not proved yet that offered a tapped button, unless the tap quotes a known send.
select b.place, m.message_id
from unnest($2::text[], $3::text[], $4::text[]) with ordinality as b (person_id, button_id, quoted_id, place)
cross join lateral (
    select message_id, sequence from messages one
    where one.tenant = $1 and one.state in ('waiting', 'intent', 'uncertain') and one.attempts > 0
        and one.person_id = coalesce(
            (select p.current_id from people p where p.tenant = $1 and p.person_id = b.person_id), b.person_id
        )
        and b.button_id = any (one.button_ids)
    order by sequence desc limit 1
) as m
where (select true from attempts a where a.tenant = $1 and a.wamid = b.quoted_id limit 1) is null
order by b.place;

-- name: expired_leases
-- Intents whose sender has died or stands still; machine time. No lease lasts for an hour: where one ends later, the clock has
-- been set back since, and the lease counts as expired.
select message_id from messages
where (tenant = $1) is true and state = 'intent' and set_aside is null and message_id <> all ($3::text[])
    and (lease_until < $2 or lease_until > $2 + interval '1 hour')
limit $4;

-- name: settled_by_silence
-- Uncertain sends old enough by both clocks to be settled by silence, and begun while webhooks were complete.
select m.message_id
from messages m
cross join lateral (
    select begun_at, machine_at from attempts one
    where one.tenant = m.tenant and one.message_id = m.message_id and one.attempt = m.attempts limit 1
) as a
where (m.tenant = $1) is true and m.state = 'uncertain' and (m.resend = 'if_unproven' or m.withdrawal is not null)
    and m.set_aside is null and a.begun_at <= $2 and a.machine_at between $3 and $4
order by a.machine_at limit $5;

-- name: open_sends
-- Sends in flight, and uncertain sends with the business instant from which silence may settle the first of them.
select
    count(*) filter (where m.state = 'intent') as in_flight,
    count(*) filter (where m.state = 'uncertain') as uncertain,
    min(a.begun_at) filter (where m.state = 'uncertain') as oldest_uncertain,
    min(a.begun_at) filter (
        where m.state = 'uncertain' and (m.resend = 'if_unproven' or m.withdrawal is not null)
    ) as next_unproven
from messages m
cross join lateral (
    select begun_at from attempts one
    where one.tenant = m.tenant and one.message_id = m.message_id and one.attempt = m.attempts limit 1
) as a
where (m.tenant = $1) is true and m.state in ('intent', 'uncertain') and m.set_aside is null;

-- name: uncertain_sends
-- Every uncertain send, or one of them, the oldest first, for an operator.
select m.message_id, m.person_id, m.line, m.say, m.rule, m.reason, m.resend, m.withdrawal, m.attempts, m.expires_at,
    a.begun_at
from messages m
cross join lateral (
    select begun_at from attempts one
    where one.tenant = m.tenant and one.message_id = m.message_id and one.attempt = m.attempts limit 1
) as a
where (m.tenant = $1) is true and m.state = 'uncertain' and ($2::text is null or m.message_id = $2)
order by a.begun_at;

-- name: attempts_of_message
-- The attempts of one message.
select attempt, wording, begun_at, machine_at, ending, ended_at, wamid, code
from attempts where tenant = $1 and message_id = $2 order by attempt;

-- name: recent_attempts
-- Sends that a new leader must count: to whom, by which line, when.
select m.line,
    coalesce((select p.current_id from people p where p.tenant = $1 and p.person_id = m.person_id), m.person_id) as person_id,
    a.begun_at
from attempts a
cross join lateral (
    select one.line, one.person_id, one.sequence from messages one
    where one.tenant = $1 and one.message_id = a.message_id limit 1
) as m
where (a.tenant = $1) is true and a.begun_at > $2
order by a.begun_at, m.sequence;

-- name: lines_with_intents
-- Lines with sends that an earlier leader began and that have no outcome yet.
select distinct line from messages
where (tenant = $1) is true and state = 'intent' and set_aside is null and message_id <> all ($2::text[]);

-- ------------------------------------------------------------------ statuses that came early

-- name: keep_early_statuses
-- Statuses whose message is not known yet.
insert into early_statuses (
    tenant, wamid, status, at, code, callback, event, kept_at, pricing_category, pricing_type, country
)
select $1, s.wamid, s.status, s.at, s.code, s.callback, s.event, $2, s.pricing_category, s.pricing_type, s.country
from unnest(
    $3::text[], $4::text[], $5::timestamptz[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]
) as s (wamid, status, at, code, callback, event, pricing_category, pricing_type, country)
on conflict (tenant, wamid, status) do nothing;

-- name: take_early_statuses
-- Early statuses of these wamids, returned once.
delete from early_statuses where tenant = $1 and wamid = any ($2::text[])
returning wamid, status, at, code, callback, event, pricing_category, pricing_type, country;

-- name: matched_early_statuses
-- The wamids of the next $3 early statuses after $2, and whether an attempt of each was committed in the moment it was kept.
select e.wamid, (
    select true from attempts a where a.tenant = $1 and a.wamid = e.wamid limit 1
) is true as is_matched
from early_statuses e
where e.tenant = $1 and e.wamid > $2
order by e.wamid limit $3;

-- name: delete_old_early_statuses
-- Statuses that never found a message: they belong to other systems on the same account.
delete from early_statuses
where ctid = any (array(select ctid from early_statuses where tenant = $1 and kept_at < $2 order by kept_at limit $3));

-- ------------------------------------------------------------------ progress and pauses

-- name: read_positions
-- How far these topics have been read, by any replica.
select topic, partition, next_offset from progress where topic = any ($1::text[]);

-- ------------------------------------------------------------------ pauses

-- name: load_pauses
-- Lines, templates and the tenant, where an operator has paused them.
select kind, name from pauses where tenant = $1;

-- name: oldest_pauses
-- By kind, since when the oldest pause holds; machine time.
select kind, min(since) as since from pauses where tenant = $1 group by kind;

-- name: hold_paused
-- Messages that are due on a paused line (or on any, where the tenant is paused) say so, and are looked at again later. The
-- lines are found one by one, as above.
with recursive known (line) as (
    select min(line) from messages where tenant = $1 and state = 'waiting'
    union all
    select (select min(m.line) from messages m where m.tenant = $1 and m.state = 'waiting' and m.line > known.line)
    from known where known.line is not null
)
update messages set reason = 'paused_by_operator', not_before = least(expires_at, $5)
where tenant = $1 and message_id = any (array(
    select m.message_id
    from known
    cross join (values (0::smallint), (1::smallint), (2::smallint)) as lanes (lane)
    cross join lateral (
        select one.message_id from messages one
        where one.tenant = $1 and one.state = 'waiting' and one.line = known.line and one.lane = lanes.lane
            and one.not_before <= $4 and one.set_aside is null and one.expires_at > $4
        order by one.not_before, one.sequence limit $6
    ) as m
    where $2 or known.line = any ($3::text[])
    limit $6
)) and (state = 'waiting') is true;

-- name: release_resumed
-- Of the next $4 messages after $3 that a pause holds, those wait no longer whose line is not among $5; a template that is still
-- paused holds them again. Returns where to go on, 0 at the end.
with looked_at as materialized (
    select m.message_id, m.sequence, m.line from messages m
    where m.tenant = $1 and m.sequence > $3 and m.state = 'waiting' and m.reason = 'paused_by_operator'
    order by m.sequence limit $4
), released as (
    update messages m set not_before = $2, reason = null
    where m.tenant = $1 and m.message_id = any (array(select message_id from looked_at where line <> all ($5::text[])))
        and (m.state = 'waiting') is true and (m.reason = 'paused_by_operator') is true
)
select case when count(*) = $4 then max(sequence) else 0 end from looked_at;
