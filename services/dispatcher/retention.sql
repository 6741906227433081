-- Deletes the rows that the dispatcher no longer keeps, a few at a time. Instants are business time.

-- name: delete_old_messages
-- Messages whose life has ended, with their attempts.
with gone as (
    delete from messages where (tenant, message_id) in (
        select tenant, message_id from messages
        where state not in ('waiting', 'intent', 'uncertain') and changed_at < $1
        order by changed_at limit $2
    ) returning tenant, message_id
), attempts_gone as (
    delete from attempts a using gone where (a.tenant, a.message_id) = (gone.tenant, gone.message_id)
)
select count(*) from gone;

-- name: delete_old_withdrawals
-- Withdrawals whose message never came.
with gone as (
    delete from withdrawals where (tenant, message_id) in (
        select tenant, message_id from withdrawals where at < $1 order by at limit $2
    ) returning message_id
)
select count(*) from gone;

-- name: delete_old_windows
-- The last messages of people, long after their windows have closed.
with gone as (
    delete from windows where (tenant, line, person_id) in (
        select tenant, line, person_id from windows where opened_at < $1 order by opened_at limit $2
    ) returning person_id
)
select count(*) from gone;

-- name: delete_old_charge_totals
-- The counts of days long ago, by which costs are shown.
with gone as (
    delete from charge_totals where ctid in (
        select ctid from charge_totals where day < ($1::timestamptz at time zone 'UTC')::date limit $2
    ) returning day
)
select count(*) from gone;

-- name: forget_visitors
-- The pseudonyms of those of these people who are visitors and still erased; that of a contact stays, for Consonance may still
-- name them. Gives those that are forgotten.
delete from people p using unnest($1::text[], $2::text[]) as gone (tenant, person_id)
where p.tenant = gone.tenant and p.person_id = gone.person_id and p.person_id like 'v%'
    and p.phone is null and p.bsuid is null and p.merged_into is null
returning p.tenant, p.person_id;
