-- What is asked of the database before any command, and by the doctor.

-- name: tenants
-- Whose rules were ever in force here; none before the first start of rules.
select distinct tenant from rules.rulebook_activations order by tenant;

-- name: lacking_rights
-- Tables and sequences of a service's schema on which the current role lacks a right that its services need.
select c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and (
    c.relkind in ('r', 'p') and not (
        has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
        and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')
    )
    or c.relkind = 'S' and not has_sequence_privilege(c.oid, 'usage')
)
order by c.relname;
