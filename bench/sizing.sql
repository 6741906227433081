-- name: sizes
-- Bytes with indexes: of each of these schemas without what lies there only for a while, and of all their inboxes.
select case when c.relname ~ '^inbox(_[0-9]+)?$' then 'the inbox' else n.nspname end as name,
    sum(pg_total_relation_size(c.oid))::bigint as bytes
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any($1::text[]) and c.relkind = 'r' and c.relname not in ('outbox', 'progress')
group by 1
order by 1;
