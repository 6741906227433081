-- name: list_parked
-- Of one service.
select id, topic, partition, kafka_offset, reason, parked_at, octet_length(value) as bytes, state
from SCHEMA.parked where state = any($1::text[]) and reason = coalesce($3, reason) and parked_at >= coalesce($4, parked_at)
order by id limit $2;

-- name: select_parked
-- Those that are open: of these ids, or of all where none are given; of a reason, since a moment.
select id, topic, reason from parked
where state = 'parked' and id = any(coalesce($1::bigint[], array[id])) and reason = coalesce($2, reason)
    and parked_at >= coalesce($3, parked_at)
order by id;

-- name: show_parked
select id, topic, partition, kafka_offset, key, value, headers, reason, sentence, parked_at, state, settled_at, note
from parked where id = $1;

-- name: take_parked
-- Locked, so that two operators do not settle it twice.
select id, topic, key, value, headers, state from parked where id = $1 for update;

-- name: settle_parked
update parked set state = $2, note = $3, settled_at = $4 where id = $1;
