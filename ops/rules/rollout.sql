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

-- name: list_trials
-- The newest trials first, with what was observed of each.
select t.number, t.kind, t.revision, t.commit, t.share, t.imprints, t.started_at, t.who, t.ended_at, t.result, t.cause, t.judged,
    t.max_opt_outs, t.max_failures, t.max_disagreements,
    (select count(*) from rules.rulebook_trial_observations o where o.trial = t.number and o.kind = 'opt_out') as opt_outs,
    (select count(*) from rules.rulebook_trial_observations o where o.trial = t.number and o.kind = 'failure') as failures,
    (select count(*) from rules.rulebook_trial_observations o where o.trial = t.number and o.kind = 'disagreement') as disagreements
from rules.rulebook_trials t
where t.tenant = $1 order by t.ended_at is null desc, t.number desc limit $2;

-- name: list_differences
-- What shadows would do differently, the most frequent first.
select trial, rule, kind, count, example, first_at, last_at from rules.rulebook_trial_differences
where trial = any($1::bigint[]) order by trial desc, count desc, rule, kind;

-- name: begin_trial
-- Try a stored revision; returns its number.
insert into rules.rulebook_trials (
    tenant, kind, revision, commit, share, imprints, max_opt_outs, max_failures, max_disagreements, started_at, who
) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
returning number;

-- name: end_trials
-- End the open trials of a kind or of a revision; a null is for any.
update rules.rulebook_trials set ended_at = $4, result = $5, cause = $6
where tenant = $1 and ended_at is null and kind = coalesce($2, kind) and revision = coalesce($3, revision)
returning number, kind, revision;
