-- name: find_progress
-- How far each partition is applied; without an instant, the keys that have waiting events; and what an operator has paused.
select topic || ':' || partition as guard, coalesce(caught_up_to, '-infinity') as read_to, null as paused from progress
union all
select distinct key, null::timestamptz, null from waiting
union all
select null, null, case kind when 'tenant' then '*' else name end from pauses where tenant = $1;

-- name: oldest_pause
-- Since when the oldest pause of an operator holds; machine time.
select min(since) from pauses where tenant = $1;

-- name: find_chains
-- Every chain a batch may concern, locked in one order so that two batches cannot deadlock. What is found by a key is given
-- to the next step as an array: a join that is planned while the tables are small reads all of them.
select chain_id, document::text from chains
where chain_id = any(array(
    select chain_id from messages where message_id = any($2::text[]) or wamid = any($3::text[])
    union
    select chain_id from messages where digest = any($2::text[])
    union
    select chain_id from messages where digest = any(array(select message_id from messages where wamid = any($3::text[])))
    union
    select chain_id from chains
    where live and holds_for <> '{}'
    and holds_for && array(select unnest(holds_for) from chains where chain_id = any($7::text[]))
    union
    select chain_id from writes where write_id = any($4::text[])
    union
    select chain_id from writes where work_id = any($9::bigint[])
    union
    select chain_id from chains where live and tenant = $1 and tags && $5::text[]
    union
    select chain_id from chains where depends_on <> '{}' and tenant = $1 and depends_on && $5::text[]
    union
    select chain_id from chains where live and tenant = $1 and people && $6::text[]
    union
    select unnest($7::text[])
    union
    select chain_id from chains where live and holds_for <> '{}' and holds_for && $8::text[]
    union
    select chain_id from messages where unsent and person_id = any($8::text[])
    union
    select chain_id from messages where uncertain and person_id = any($8::text[])
))
order by chain_id
for update;

-- name: find_concerned_chains
-- Which of these chains a batch names by a message, a write or a tag.
select chain_id from chains
where chain_id = any($1::text[])
and (
    chain_id = any(array(select chain_id from messages where message_id = any($2::text[]) or wamid = any($3::text[])))
    or chain_id = any(array(select chain_id from writes where write_id = any($4::text[])))
    or tags && $5::text[]
);

-- name: find_wamids
-- Our message ids for WhatsApp's ids.
select wamid, message_id from messages where wamid = any($1::text[]);

-- name: find_works
-- The last observed state of works.
select document::text from works where tenant = $1 and work_id = any($2::bigint[]);

-- name: find_people
-- People with consent, unsolicited messages, absence, the rule that last wrote to them and their open submission. Subqueries use the
-- keys, where a join may read the whole table.
select
    p.document::text as person,
    (select c.document::text from consent c where c.tenant = p.tenant and c.person_id = p.person_id) as consent,
    (select u.document::text from unasked u where u.tenant = p.tenant and u.person_id = p.person_id) as unasked,
    (select b.document::text from absences b where b.tenant = p.tenant and b.person_id = p.person_id) as absence,
    (select s.document::text from counted_messages s where s.tenant = p.tenant and s.person_id = p.person_id) as counted,
    (select l.rule from last_rules l where l.tenant = p.tenant and l.person_id = p.person_id) as rule,
    (select a.reference from acquisitions a where a.tenant = p.tenant and a.person_id = p.person_id) as reference
from people p
where p.tenant = $1 and p.person_id = any($2::text[]);

-- name: find_same_people
-- Every id that these people have or had: what they were merged into, and what was merged into that.
with recursive later as (
    select merged.person_id from unnest($2::text[]) as merged (person_id)
    union
    select p.document ->> 'merged_into'
    from later join people p on p.tenant = $1 and p.person_id = later.person_id
    where p.document ? 'merged_into'
), earlier as (
    select person_id from later
    union
    select p.person_id
    from earlier
    join people p on p.tenant = $1 and p.document ->> 'merged_into' = earlier.person_id and p.document ? 'merged_into'
)
select person_id from earlier;

-- name: find_records
-- Rights records by id or by a request open on them.
select record_id, document::text from rights_records
where tenant = $1 and (record_id = any($2::text[]) or open_requests && $3::text[]);

-- name: find_starts
-- When the newest chains of these rules and subjects started.
select asked.start_key, array(
    select c.started_at from chains c
    where c.tenant = $1 and c.start_key = asked.start_key
    order by c.started_at desc
    limit $3
) as starts
from unnest($2::text[]) as asked (start_key);

-- name: find_strangers
-- When messages of strangers lately started chains.
select document::text from strangers where tenant = $1;

-- name: save_strangers
-- The same, unless another transaction has counted one meanwhile.
insert into strangers (tenant, version, document) values ($1, $2, $3::jsonb)
on conflict (tenant) do update set version = excluded.version, document = excluded.document
where strangers.version = excluded.version - 1
returning version;

-- name: find_file_reports
-- Ingest's reports on these files that came before their message was read.
select file_id, document::text from file_reports where tenant = $1 and file_id = any($2::text[]);

-- name: save_file_reports
-- Reports on files that are in no form (yet); the first one of a file counts, as there is no other.
insert into file_reports (tenant, file_id, person_id, reported_at, document)
select $1, file_id, person_id, reported_at, document::jsonb
from unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[]) as t(file_id, person_id, reported_at, document)
on conflict do nothing;

-- name: save_works
-- Works by id.
insert into works (tenant, work_id, document)
select $1, work_id, document::jsonb from unnest($2::bigint[], $3::text[]) as t(work_id, document)
on conflict (tenant, work_id) do update set document = excluded.document;

-- name: save_people
-- People by id.
insert into people (tenant, person_id, document)
select $1, person_id, document::jsonb from unnest($2::text[], $3::text[]) as t(person_id, document)
on conflict (tenant, person_id) do update set document = excluded.document;

-- name: save_consent
-- The newest consent of people.
insert into consent (tenant, person_id, document)
select $1, person_id, document::jsonb from unnest($2::text[], $3::text[]) as t(person_id, document)
on conflict (tenant, person_id) do update set document = excluded.document;

-- name: enter_consent
-- Changes of people's consent, in the order in which they were decided.
insert into consent_ledger (tenant, person_id, change, at, source, evidence, line, document, recorded_at)
select
    $1, entry ->> 'person_id', entry ->> 'change', (entry ->> 'at')::timestamptz, entry ->> 'source',
    entry ->> 'evidence', entry ->> 'line', entry -> 'consent', $3
from unnest($2::jsonb[]) with ordinality as t(entry, place)
order by place;

-- name: save_unasked
-- The unsolicited messages of people; a person of whom nothing is kept any more has no row.
with given as (select person_id, document from unnest($2::text[], $3::text[]) as t(person_id, document)),
gone as (
    delete from unasked u using given g where u.tenant = $1 and u.person_id = g.person_id and g.document = '{}'
)
insert into unasked (tenant, person_id, document)
select $1, person_id, document::jsonb from given where document <> '{}'
on conflict (tenant, person_id) do update set document = excluded.document;

-- name: save_absences
-- Absences that members of staff wrote themselves.
insert into absences (tenant, person_id, document)
select $1, person_id, document::jsonb from unnest($2::text[], $3::text[]) as t(person_id, document)
on conflict (tenant, person_id) do update set document = excluded.document;

-- name: save_counted
-- The messages to people that count for their caps; the people of those that no other replica has counted meanwhile.
insert into counted_messages (tenant, person_id, version, document)
select $1, person_id, version, document::jsonb from unnest($2::text[], $3::bigint[], $4::text[]) as t(person_id, version, document)
on conflict (tenant, person_id) do update set version = excluded.version, document = excluded.document
where counted_messages.version = excluded.version - 1
returning person_id;

-- name: save_records
-- Rights records with the requests open on them.
insert into rights_records (tenant, record_id, open_requests, document)
select $1, record_id, array(select jsonb_array_elements_text(document::jsonb -> 'open_requests')), document::jsonb
from unnest($2::text[], $3::text[]) as t(record_id, document)
on conflict (tenant, record_id) do update
set document = excluded.document, open_requests = excluded.open_requests;

-- name: save_last_rules
-- The rule that last wrote to each person; an id that was merged into another has no row.
with given as (select person_id, rule from unnest($2::text[], $3::text[]) as t(person_id, rule)),
gone as (delete from last_rules l using given g where l.tenant = $1 and l.person_id = g.person_id and g.rule is null)
insert into last_rules (tenant, person_id, rule)
select $1, person_id, rule from given where rule is not null
on conflict (tenant, person_id) do update set rule = excluded.rule;

-- name: save_acquisitions
-- The open submission of each person; one who has none has no row.
with given as (select person_id, reference from unnest($2::text[], $3::text[]) as t(person_id, reference)),
gone as (
    delete from acquisitions a using given g where a.tenant = $1 and a.person_id = g.person_id and g.reference is null
)
insert into acquisitions (tenant, person_id, reference)
select $1, person_id, reference from given where reference is not null
on conflict (tenant, person_id) do update set reference = excluded.reference;

-- name: save_chains
-- The arrays of a row travel as JSON, since unnest would flatten arrays of arrays.
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, beside, live, unsent, holds_for, tags, depends_on, people, guards,
    next_due, changed_at, open_questions, asked_since, reviewed, start_key, started_at, document
)
select
    row ->> 'chain_id', $1, row ->> 'rule', row ->> 'subject', row ->> 'revision', row ->> 'key',
    (row ->> 'active')::boolean, (row ->> 'beside')::boolean, (row ->> 'live')::boolean,
    (row ->> 'unsent')::boolean,
    array(select jsonb_array_elements_text(row -> 'holds_for')),
    array(select jsonb_array_elements_text(row -> 'tags')),
    array(select jsonb_array_elements_text(row -> 'depends_on')),
    array(select jsonb_array_elements_text(row -> 'people')),
    array(select jsonb_array_elements_text(row -> 'guards')),
    (row ->> 'next_due')::timestamptz, $3,
    (row ->> 'open_questions')::integer, (row ->> 'asked_since')::timestamptz, row ->> 'reviewed', row ->> 'start_key',
    (row ->> 'started_at')::timestamptz, row -> 'document'
from unnest($2::jsonb[]) as t(row)
on conflict (chain_id) do update set
    active = excluded.active, beside = excluded.beside, live = excluded.live, unsent = excluded.unsent,
    holds_for = excluded.holds_for, tags = excluded.tags, depends_on = excluded.depends_on,
    people = excluded.people, guards = excluded.guards,
    next_due = excluded.next_due, changed_at = excluded.changed_at, open_questions = excluded.open_questions,
    asked_since = excluded.asked_since, subject = excluded.subject, revision = excluded.revision, reviewed = excluded.reviewed,
    document = excluded.document;

-- name: save_messages
-- Messages of ours by chain; WhatsApp's id is never lost.
insert into messages (message_id, chain_id, wamid, person_id, unsent, uncertain, expires_at, digest)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[], $7::timestamptz[], $8::text[]
)
on conflict (message_id) do update
set wamid = coalesce(excluded.wamid, messages.wamid), person_id = excluded.person_id, unsent = excluded.unsent,
    uncertain = excluded.uncertain, digest = excluded.digest;

-- name: find_notices
-- Messages to these people that belong to no chain and may still go.
select message_id, person_id from messages where unsent and chain_id is null and person_id = any($1::text[])
union all
select message_id, person_id from messages where uncertain and chain_id is null and person_id = any($1::text[]);

-- name: save_notice_outcomes
-- Outcomes of messages that belong to no chain, with WhatsApp's ids of those that were sent.
update messages m set unsent = false, uncertain = known.uncertain, wamid = coalesce(known.wamid, m.wamid)
from unnest($1::text[], $2::text[], $3::bool[]) as known (message_id, wamid, uncertain)
where m.message_id = known.message_id and m.chain_id is null;

-- name: next_amendments
-- The numbers of the next amendments of messages, ascending.
select nextval('amendment_numbers') from generate_series(1, $1::int);

-- name: save_writes
-- Which chain each write belongs to, the work whose metadata it changes, and its outcome once known.
insert into writes (write_id, chain_id, outcome, work_id, requested_at)
select write_id, chain_id, outcome, work_id, $5
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as t(write_id, chain_id, outcome, work_id)
on conflict (write_id) do update set outcome = excluded.outcome where writes.outcome is distinct from excluded.outcome;

-- name: any_due
-- Cheap check before the next query, whose planning costs more than its mostly empty result.
select exists (select from chains where next_due <= $1);

-- name: due_chains
-- Due chains whose guards are caught up and whose keys have no waiting events; the longest due first.
select chain_id, key, next_due from chains c
where next_due <= $1
and chain_id <> all($2::text[])
and caught_up(c.guards, c.next_due)
and not exists (
    select from pauses p where p.tenant = c.tenant and (p.kind = 'tenant' or p.kind = 'rule' and p.name = c.rule)
)
and not exists (
    select from waiting w
    where w.key = any(array(select c.tenant || '/persons/' || person from unnest(c.people) as person) || c.key)
)
order by next_due
limit $3;

-- name: chains_to_review
-- Chains of an earlier rulebook that have not been reviewed under this one: active ones of rules that migrate or cancel, or
-- that are gone; and all with a message that is held, or of which nothing is known since it was requested, which may wait for
-- its template.
-- The rules with their revisions are found one by one in the indexes, because chains that go on as they began are many, and stay,
-- and so may messages that wait.
with recursive known (rule, revision) as (
    (
        select rule, coalesce(reviewed, revision) from chains
        where tenant = $1 and active order by rule, coalesce(reviewed, revision) limit 1
    )
    union all
    select next.rule, next.revision
    from known k
    cross join lateral (
        select c.rule, coalesce(c.reviewed, c.revision) as revision from chains c
        where c.tenant = $1 and c.active and (c.rule, coalesce(c.reviewed, c.revision)) > (k.rule, k.revision)
        order by c.rule, coalesce(c.reviewed, c.revision) limit 1
    ) as next
), unsent (revision) as (
    (
        select coalesce(reviewed, revision) from chains
        where tenant = $1 and unsent order by coalesce(reviewed, revision) limit 1
    )
    union all
    select next.revision
    from unsent u
    cross join lateral (
        select coalesce(c.reviewed, c.revision) as revision from chains c
        where c.tenant = $1 and c.unsent and coalesce(c.reviewed, c.revision) > u.revision
        order by coalesce(c.reviewed, c.revision) limit 1
    ) as next
)
select changed.chain_id, changed.key
from known k
cross join lateral (
    select c.chain_id, c.key from chains c
    where c.tenant = $1 and c.active and c.rule = k.rule and coalesce(c.reviewed, c.revision) = k.revision
        and c.revision <> all($5::text[])
    limit $6
) as changed
where k.revision <> $2 and (k.rule = any($3::text[]) or k.rule <> all($4::text[]))
union
select waiting.chain_id, waiting.key
from unsent u
cross join lateral (
    select c.chain_id, c.key from chains c
    where c.tenant = $1 and c.unsent and coalesce(c.reviewed, c.revision) = u.revision and c.revision <> all($5::text[])
    limit $6
) as waiting
where u.revision <> $2
order by chain_id
limit $6;

-- name: set_aside
-- Set a chain aside whose due step failed: it is not due until an operator retries it.
with stopped as (
    update chains set next_due = null where chain_id = $1 and next_due is not null returning chain_id
)
insert into chains_set_aside (chain_id, due, reason, sentence, set_aside_at)
select chain_id, $2, $3, $4, $5 from stopped
on conflict (chain_id) do update
set due = excluded.due, reason = excluded.reason, sentence = excluded.sentence, set_aside_at = excluded.set_aside_at;

-- name: count_set_aside
-- Chains set aside, also ended ones that still had something due. Their document keeps when; one that an event has made
-- due again, or has left nothing to do, does not count.
select count(*) from chains_set_aside s join chains c using (chain_id) where c.next_due is null and c.document ? 'next_due';

-- name: find_set_aside
-- Chains set aside with their reasons, the oldest first.
select s.chain_id, c.rule, c.subject, s.due, s.reason, s.sentence, s.set_aside_at
from chains_set_aside s join chains c using (chain_id)
where c.next_due is null and c.document ? 'next_due'
order by s.set_aside_at;

-- name: retry_set_aside
-- Make chains due again at the instant they were due; all that are set aside where no ids are given. One that an event has
-- left nothing to do is not due again.
with freed as (
    delete from chains_set_aside where $1::text[] is null or chain_id = any($1) returning chain_id, due
)
update chains c set next_due = coalesce(c.next_due, freed.due) from freed
where c.chain_id = freed.chain_id and c.document ? 'next_due'
returning c.chain_id;

-- name: due_state
-- The next due instant of all chains that are not paused, and how many are due by now.
select min(next_due) as next_due, count(*) filter (where next_due <= $1) as due
from chains c
where next_due is not null and not exists (
    select from pauses p where p.tenant = c.tenant and (p.kind = 'tenant' or p.kind = 'rule' and p.name = c.rule)
);

-- name: open_questions
-- How many questions of each rule wait for an answer, and since when the oldest.
select rule, sum(open_questions) as questions, min(asked_since) as oldest
from chains where open_questions > 0 group by rule;

-- name: queued_keys
-- Keys that have waiting events.
select distinct key from waiting where key = any($1::text[]);

-- name: enqueue
-- Add waiting events.
insert into waiting (tenant, key, event_id, value, people, work_id, wamid, version, since, until)
select $1, row ->> 'key', row ->> 'event_id', decode(row ->> 'value', 'base64'),
    array(select jsonb_array_elements_text(row -> 'people')), (row ->> 'work_id')::bigint, row ->> 'wamid',
    (row ->> 'version')::bigint,
    (row ->> 'since')::timestamptz, (row ->> 'until')::timestamptz
from unnest($2::jsonb[]) as t(row);

-- name: any_waiting
-- Cheap check before the next query, whose planning costs more than its mostly empty result.
select exists (select from waiting);

-- name: ready_keys
-- Keys whose first event need not wait: its time is up, or everything it misses is known. None waits for an hour: an end further
-- ahead was noted by a clock that has been set back since.
select w.key from waiting w
where w.place = (select min(place) from waiting first where first.key = w.key)
and w.key <> all($3::text[])
and (
    w.until <= $1 or w.until > $1 + interval '1 hour'
    or (
        not exists (
            select 1 from unnest(w.people) as missing
            where not exists (
                select 1 from people p
                where p.tenant = w.tenant and p.person_id = missing
                    and (w.version is null or (p.document ->> 'version')::bigint >= w.version)
            )
        )
        and (w.work_id is null or exists (select 1 from works where tenant = w.tenant and work_id = w.work_id))
        and (w.wamid is null or exists (select 1 from messages where wamid = w.wamid))
    )
)
order by w.place
limit $2;

-- name: find_waiting
-- The waiting events of a key in order, and whether each still misses something.
select w.place, w.value, w.until,
    exists (
        select 1 from unnest(w.people) as missing
        where not exists (
            select 1 from people p
            where p.tenant = w.tenant and p.person_id = missing
                and (w.version is null or (p.document ->> 'version')::bigint >= w.version)
        )
    )
    or (w.work_id is not null and not exists (select 1 from works where tenant = w.tenant and work_id = w.work_id))
    or (w.wamid is not null and not exists (select 1 from messages where wamid = w.wamid)) as misses
from waiting w where w.key = $1 order by w.place limit $2;

-- name: dequeue
-- Remove events from the queue.
delete from waiting where place = any($1::bigint[]);

-- name: expire_waits
-- End the wait of every event of these keys.
update waiting set until = $2 where key = any($1::text[]) and until > $2;

-- name: delete_inbox_row
-- Forget an event that is parked from the queue, so that its replay does not count as a duplicate.
delete from inbox where tenant = $1 and source = $2 and id = $3;

-- name: waiting_state
-- When the next wait ends, how many events wait, and since when the oldest waits.
select min(until) as next_due, count(*) as waiting, min(since) as oldest from waiting;

-- name: find_periods
-- The period that each recurring rule started last, and when it was due.
select rule, period, at from periods where tenant = $1;

-- name: keep_new_recurring_rules
-- Recurring rules that are seen for the first time: periods that began before do not count for them.
insert into periods (tenant, rule, period, at)
select $1, rule, '', $3 from unnest($2::text[]) as t(rule)
on conflict (tenant, rule) do nothing;

-- name: start_period
-- One period of a recurring rule, for the first of all replicas; no row for the others, which wait for this one.
update periods set period = $3, at = $4
where tenant = $1 and rule = $2 and at < $4 and period <> $3
returning rule;

-- name: find_active_chains
-- The chains of a recurring rule that its next period may meet.
select chain_id from chains where tenant = $1 and rule = $2 and active and not beside;

-- name: find_open_chains
-- Chains of these rules that a person has taken, was offered or was asked; read and not locked, since a list only shows them.
select document::text from chains
where tenant = $1 and rule = any($2::text[]) and active
and (
    open_questions > 0
    or coalesce(document -> 'taken', 'null') <> 'null'
    or coalesce(document -> 'handed_over', '[]') <> '[]'
);
