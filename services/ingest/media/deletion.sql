-- name: stop_fetching
-- The files of a person that wait are fetched no more; what an attempt under way brings is not reported.
update media_files set state = 'refused', reason = 'erased', settled_at = $3
where tenant = $1 and person_id = $2 and state = 'waiting';

-- name: files_of_person
-- The files of a person; those whose deletion has failed come last. A file that an attempt may still store is left out until
-- the lease of the attempt ends, at `due_at`; where that is more than an hour ahead, the clock has been set back since.
select file_id, object_key, attempts from media_files
where tenant = $1 and person_id = $2 and not (
    state = 'refused' and reason = 'erased' and attempts > 0 and due_at > $3 and due_at <= $3 + interval '1 hour'
)
order by due_at, file_id;

-- name: count_files
-- How many files of a person there are.
select count(*) from media_files where tenant = $1 and person_id = $2;

-- name: expired_files
-- The oldest of the files that were settled before an instant; not those whose deletion has failed in the last day. The next
-- attempt is a day later: where `due_at` is two days ahead, the clock has been set back since, and the file is taken now.
select file_id, object_key, attempts from media_files
where tenant = $1 and state <> 'waiting' and coalesce(reported_at, settled_at) < $2
    and (due_at <= $4 or due_at > $4 + interval '2 days')
order by coalesce(reported_at, settled_at)
limit $3;

-- name: postpone_deletion
-- Files that the store does not delete now.
update media_files set due_at = $3 where tenant = $1 and file_id = any($2::text[]);

-- name: delete_files
-- The rows of files that are in no store any more.
delete from media_files where tenant = $1 and file_id = any($2::text[]);
