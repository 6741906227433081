-- name: attempts
-- Every request begun to WhatsApp: when it was written down, before it left.
select message_id, attempt, begun_at, ending from dispatcher.attempts order by begun_at;

-- name: messages
-- Where each message stands in the dispatcher's ledger.
select message_id, person_id, line, lane, say, state, reason from dispatcher.messages;

-- name: chains
-- Every chain as rules keeps it.
select chain_id, rule, subject, live, document from rules.chains;

-- name: waiting
-- Events that rules has not judged yet.
select key, event_id, until from rules.waiting;

-- name: writes
-- Where each write to Consonance stands.
select write_id, operation, record, state, outcome from writeback.writes;

-- name: tasks
-- Writes that wait for a person.
select write_id, reason from writeback.tasks;

-- name: parked
-- What the services could not handle, with the reason.
select 'ingest' as service, topic, partition, kafka_offset, event, reason, sentence, state from ingest.parked
union all
select 'rules', topic, partition, kafka_offset, event, reason, sentence, state from rules.parked
union all
select 'dispatcher', topic, partition, kafka_offset, event, reason, sentence, state from dispatcher.parked
union all
select 'writeback', topic, partition, kafka_offset, event, reason, sentence, state from writeback.parked;

-- name: unfinished
-- Work that is still under way, by its name in the report. A chain whose write is a person's task waits for good.
select
    (select count(*) from rules.waiting) as "events waiting for a fact",
    (
        select count(*) from rules.chains c
        where c.live and not exists (
            select from rules.writes asked join writeback.tasks on tasks.write_id = asked.write_id
            where asked.chain_id = c.chain_id
        )
    ) as "chains alive",
    (select count(*) from dispatcher.messages where state in ('waiting', 'intent')) as "messages waiting or begun",
    (
        select count(*) from dispatcher.messages where state = 'uncertain' and resend = 'if_unproven'
    ) as "messages that may go again",
    (select count(*) from writeback.writes where state in ('queued', 'intent')) as "writes under way",
    (
        (select count(*) from ingest.outbox) + (select count(*) from rules.outbox)
        + (select count(*) from dispatcher.outbox) + (select count(*) from writeback.outbox)
    ) as "records that must leave";

-- name: read
-- How far the services have read each partition, by their own account.
select 'rules' as service, topic, partition, next_offset from rules.progress
union all
select 'dispatcher', topic, partition, next_offset from dispatcher.progress
union all
select 'writeback', topic, partition, next_offset from writeback.progress;
