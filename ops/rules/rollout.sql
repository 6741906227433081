-- Which rules are in force, what the sources of the replicas hold, and how far the partitions have switched.

-- name: find_active
-- The revision in force.
select number, revision, commit, activated_at, cause, who from rules.rulebook_activations
where tenant = $1 order by number desc limit 1;

-- name: list_sources
-- What each replica's source holds; those that have not read it for a day are left out.
select replica, revision, commit, refused, faults, read_at, exists (
    select from rules.rulebook_activations a where a.tenant = s.tenant and a.revision = s.revision
) as was_in_force
from rules.rulebook_sources s
where tenant = $1 and read_at > $2 order by replica;

-- name: count_behind
-- Partitions that are not known to be decided by an activation or a later one.
select count(*) from rules.progress p
where not exists (
    select from rules.rulebook_switch_points s
    where s.topic = p.topic and s.partition = p.partition and s.activation >= $1
);

-- name: list_history
-- The newest activations first.
select number, revision, commit, activated_at, cause, who from rules.rulebook_activations
where tenant = $1 order by number desc limit $2;

-- name: find_revisions
-- Stored revisions whose hash or commit begins so.
select revision, commit, files::text as files from rules.rulebooks
where starts_with(revision, $1) or starts_with(commit, $1)
limit 2;

-- name: activate
-- Put a stored revision into force, unless it is; returns its number.
insert into rules.rulebook_activations (tenant, revision, commit, activated_at, cause, who)
select $1, $2, $3, $4, 'promoted', $5
where $2 is distinct from (
    select revision from rules.rulebook_activations where tenant = $1 order by number desc limit 1
)
returning number;
