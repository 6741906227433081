-- Queries of document_store.py.

-- name: request_documents
-- Documents that messages need; one that was fetched a while ago is fetched again, since its content may be another.
insert into documents (tenant, line, document_id, address, requested_at, due_at)
select $1, given.line, given.document_id, given.address, $5, $5
from (select distinct on (line, document_id) * from unnest($2::text[], $3::text[], $4::text[]) as g (line, document_id, address))
    as given
order by given.line, given.document_id
on conflict (tenant, line, document_id) do update
set requested_at = excluded.requested_at,
    state = case when documents.state = 'ready' and documents.settled_at > $6 then 'ready' else 'waiting' end,
    attempts = case when documents.state = 'waiting' then documents.attempts else 0 end,
    due_at = case when documents.state = 'waiting' then documents.due_at else excluded.due_at end;

-- name: find_documents
-- The stored state of these documents; the file's id at WhatsApp while it lives.
select d.line, d.document_id, d.state, d.reason, u.media_id, u.mime
from unnest($2::text[], $3::text[]) as wanted (line, document_id)
join documents d on d.tenant = $1 and d.line = wanted.line and d.document_id = wanted.document_id
left join uploads u on u.tenant = $1 and u.line = d.line and u.sha256 = d.sha256 and u.expires_at > $4
where d.tenant = $1 and d.document_id = any ($3::text[]);

-- name: reopen_documents
-- Documents whose file WhatsApp has deleted since are fetched again.
update documents set state = 'waiting', attempts = 0, due_at = $4
where tenant = $1 and state = 'ready' and (line, document_id) in (select * from unnest($2::text[], $3::text[]));

-- name: claim_documents
-- The documents that wait longest; each is due again when the lease ends, and a new attempt fences the one before. No document
-- waits for an hour or longer: where `due_at` is further ahead, the clock has been set back since, and the document is due now.
update documents set attempts = attempts + 1, due_at = $3
where (tenant, line, document_id) in (
    select tenant, line, document_id from documents
    where tenant = $1 and state = 'waiting' and (due_at <= $2 or due_at > $2 + interval '1 hour')
    order by due_at
    limit $4
    for update skip locked
)
returning line, document_id, address, attempts;

-- name: postpone_document
-- The next attempt is later.
update documents set due_at = $5
where tenant = $1 and line = $2 and document_id = $3 and attempts = $4 and state = 'waiting';

-- name: settle_document
-- WhatsApp has the document, or it can never be had; no row where another process was first.
update documents set state = $5, reason = $6, sha256 = $7, settled_at = $8
where tenant = $1 and line = $2 and document_id = $3 and attempts = $4 and state = 'waiting'
returning document_id;

-- name: find_upload
-- The id under which WhatsApp has a file of a line.
select media_id from uploads where tenant = $1 and line = $2 and sha256 = $3 and mime = $4 and expires_at > $5;

-- name: save_upload
-- A file was uploaded.
insert into uploads (tenant, line, sha256, mime, media_id, expires_at) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, line, sha256) do update
set mime = excluded.mime, media_id = excluded.media_id, expires_at = excluded.expires_at;

-- name: release_for_document
-- The first $5 of the messages that waited for a document which is settled now are planned again; the rest is found by
-- release_crossed.
with first as materialized (
    select m.message_id from messages m
    where m.tenant = $1 and m.line = $3 and m.document_id = $4 and m.state = 'waiting' and m.reason = 'document_pending'
    order by m.sequence limit $5
)
update messages m set not_before = $2, reason = null
where m.tenant = $1 and m.message_id = any (array(select message_id from first)) and (m.state = 'waiting') is true
    and (m.reason = 'document_pending') is true
returning m.message_id;

-- name: waiting_documents
-- How many documents wait, how many of them are due, as `claim_documents` has it, and since when the oldest does.
select count(*) as documents, count(*) filter (where due_at <= $2 or due_at > $2 + interval '1 hour') as due,
    min(requested_at) as oldest
from documents where tenant = $1 and state = 'waiting';

-- name: delete_old_documents
-- Documents that no message needs any more; also those that could not be fetched as long as one did.
delete from documents d
where d.tenant = $1 and greatest(d.requested_at, d.settled_at) < $2 and (
    select true from messages m
    where m.tenant = $1 and m.line = d.line and m.document_id = d.document_id
        and m.state in ('waiting', 'intent', 'uncertain') and m.document_id is not null
    limit 1
) is null;

-- name: delete_old_uploads
-- Files that WhatsApp has deleted.
delete from uploads where tenant = $1 and expires_at < $2;
