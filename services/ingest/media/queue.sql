-- name: add
-- Files to fetch; one that is known from an earlier delivery of its webhook is left unchanged.
insert into media_files (
    tenant, file_id, person_id, line, media_id, declared_mime, declared_sha256, traceparent, received_at, expires_at, due_at
)
select $1, file_id, person_id, line, media_id, mime, sha256, traceparent, $8, $9, $8
from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $10::text[])
    as given (file_id, person_id, line, media_id, mime, sha256, traceparent)
on conflict do nothing;

-- name: claim
-- The files that wait longest; each is due again when the lease ends, and a new attempt fences the one before. No file waits
-- for an hour or longer: where `due_at` is further ahead, the clock has been set back since, and the file is due now.
update media_files set attempts = attempts + 1, due_at = $3
where (tenant, file_id) in (
    select tenant, file_id from media_files
    where tenant = $1 and state = 'waiting' and (due_at <= $2 or due_at > $2 + interval '1 hour')
    order by due_at
    limit $4
    for update skip locked
)
returning file_id, person_id, line, media_id, declared_mime, declared_sha256, traceparent, expires_at, attempts;

-- name: postpone
-- The next attempt is later.
update media_files set due_at = $4
where tenant = $1 and file_id = $2 and attempts = $3 and state = 'waiting';

-- name: settle
-- The file is stored or refused; no row where another process was first.
update media_files set
    state = $4, reason = $5, object_key = $6, mime = $7, size = $8, sha256 = $9, verdict = $10, settled_at = $11,
    reported_at = $12
where tenant = $1 and file_id = $2 and attempts = $3 and state = 'waiting'
returning file_id;

-- name: is_known
-- Whether there is a row of the file.
select exists(select from media_files where tenant = $1 and file_id = $2);

-- name: waiting
-- How many files wait, how many of them are due, as `claim` has it, and since when the oldest does.
select count(*) as files, count(*) filter (where due_at <= $2 or due_at > $2 + interval '1 hour') as due,
    min(received_at) as oldest
from media_files where tenant = $1 and state = 'waiting';
