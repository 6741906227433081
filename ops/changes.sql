-- name: begin_entry
-- A change that is about to be made.
insert into operator.audit_log (at, who, action, target, reason) values ($1, $2, $3, $4, $5) returning entry;

-- name: end_entry
-- What became of it.
update operator.audit_log set result = $2, ended_at = $3 where entry = $1;

-- name: list_entries
-- The newest changes first.
select entry, at, who, login, action, target, reason, result, ended_at
from operator.audit_log
where ($1::timestamptz is null or at >= $1)
order by entry desc
limit $2;
