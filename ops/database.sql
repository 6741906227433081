-- What is asked of the database before any command.

-- name: tenants
-- Whose rules were ever in force here; none before the first start of rules.
select distinct tenant from rules.rulebook_activations order by tenant;
