-- name: list_parked
select id, topic, partition, kafka_offset, reason, sentence, parked_at, length(value) as bytes, state
from parked where state = any($1::text[]) order by id limit $2;

-- name: show_parked
select id, topic, partition, kafka_offset, key, value, headers::text, reason, sentence, parked_at, state, note
from parked where id = $1;

-- name: take_parked
select id, topic, key, value, headers::text, state from parked where id = $1 for update;

-- name: settle_parked
update parked set state = $2, note = $3 where id = $1;
