-- What `stet topics` changes, as the operator, in the schema of the service that reads.

-- name: delete_progress
-- A partition without progress is read from its oldest record.
with deleted as (
    delete from SCHEMA.progress where topic = $1 and ($2::int is null or partition = $2) returning partition, next_offset
)
select partition, next_offset from deleted order by partition;
