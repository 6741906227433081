-- name: of_record
-- Everything that was ever recorded about a record, oldest first.
select evidence_id, recorded_at, operation, outcome, detail, write_id, asked, proof, read_back, note
from evidence
where record = $1
order by evidence_id
