-- Deletes the rows that rules no longer keeps, a few at a time. Instants are business time.

-- name: delete_old_chains
-- Chains that ended, with their messages and writes.
with gone as (
    delete from chains where chain_id in (
        select chain_id from chains where not active and not live and changed_at < $1 order by changed_at limit $2
    ) returning chain_id
), messages_gone as (
    delete from messages m using gone where m.chain_id = gone.chain_id
), writes_gone as (
    delete from writes w using gone where w.chain_id = gone.chain_id
)
select count(*) from gone;

-- name: delete_old_answers
-- Messages of the house that belong to no chain.
with gone as (
    delete from messages where message_id in (
        select message_id from messages where chain_id is null and expires_at < $1 order by expires_at limit $2
    ) returning message_id
)
select count(*) from gone;

-- name: delete_old_file_reports
-- Reports on files whose message was read long ago, or will never be.
with gone as (
    delete from file_reports where (tenant, file_id) in (
        select tenant, file_id from file_reports where reported_at < $1 order by reported_at limit $2
    ) returning file_id
)
select count(*) from gone;

-- name: forget_visitors
-- The pseudonyms of those of these people who are visitors and still erased; that of a contact stays, for Consonance may still
-- name them. Gives those that are forgotten.
delete from people p using unnest($1::text[], $2::text[]) as gone (tenant, person_id)
where p.tenant = gone.tenant and p.person_id = gone.person_id and p.person_id like 'v%'
    and (p.document ->> 'erased')::boolean
returning p.tenant, p.person_id;
