-- name: set_aside
-- Leaves a message alone that a loop cannot handle.
update messages set set_aside = $3 where tenant = $1 and message_id = $2;
