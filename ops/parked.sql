-- name: list_parked
-- Of one service.
select id, topic, partition, kafka_offset, reason, parked_at, octet_length(value) as bytes, state
from SCHEMA.parked where state = any($1::text[]) order by id limit $2;

-- name: show_parked
select id, topic, partition, kafka_offset, key, value, headers, reason, sentence, parked_at, state, settled_at, note
from parked where id = $1;

-- name: take_parked
-- Locked, so that two operators do not settle it twice.
select id, topic, key, value, headers, state from parked where id = $1 for update;

-- name: settle_parked
update parked set state = $2, note = $3, settled_at = $4 where id = $1;
