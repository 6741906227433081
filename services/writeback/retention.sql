-- Deletes the rows that writeback no longer keeps, a few at a time. Instants are business time. Evidence has its own rules.

-- name: delete_old_writes
-- Writes that are settled, with their tasks.
with gone as (
    delete from writes where sequence in (
        select sequence from writes where settled_at < $1 and state = 'settled' order by settled_at limit $2
    ) returning tenant, write_id
), tasks_gone as (
    delete from tasks t using gone where (t.tenant, t.write_id) = (gone.tenant, gone.write_id)
), awaited_gone as (
    delete from media_awaited a using gone where (a.tenant, a.write_id) = (gone.tenant, gone.write_id)
)
select count(*) from gone;

-- name: delete_old_files
-- The links of files; ingest deletes the files themselves after the same time.
with gone as (
    delete from media_files where (tenant, file_id) in (
        select tenant, file_id from media_files where reported_at < $1 order by reported_at limit $2
    ) returning tenant, file_id
), awaited_gone as (
    delete from media_awaited a using gone where (a.tenant, a.file_id) = (gone.tenant, gone.file_id)
)
select count(*) from gone;

-- name: forget_visitors
-- The pseudonyms of those of these people who are visitors and still erased; that of a contact stays, for Consonance may still
-- name them. Gives those that are forgotten.
delete from people p using unnest($1::text[], $2::text[]) as gone (tenant, person_id)
where p.tenant = gone.tenant and p.person_id = gone.person_id and p.person_id like 'v%'
    and p.erased
returning p.tenant, p.person_id;
