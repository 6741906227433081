-- name: positions
-- How far these topics have been read, by whichever replica.
select topic, partition, next_offset from progress where topic = any ($1::text[]);
