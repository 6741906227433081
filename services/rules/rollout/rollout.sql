-- The rulebooks by revision, so that a chain keeps the rules it started under; the log of activations, the sources of
-- the replicas, and trials.

-- name: lock_log
-- Until the transaction ends, the only one that writes activations and trials of a tenant.
select pg_advisory_xact_lock($1);

-- name: store_rulebook
-- The files of a revision, once; the commit is that in which it was first seen.
insert into rulebooks (revision, files, first_seen, commit) values ($1, $2::jsonb, $3, $4)
on conflict (revision) do update set commit = coalesce(rulebooks.commit, excluded.commit);

-- name: find_rulebook
-- The files of a revision, as JSON.
select files::text from rulebooks where revision = $1;

-- name: in_force
-- The newest activation, and the open trials beside it: a row for each, or one without.
select a.number, a.revision, a.commit, a.activated_at,
    t.number as trial, t.kind, t.revision as trial_revision, t.commit as trial_commit, t.share, t.imprints
from (
    select number, revision, commit, activated_at from rulebook_activations
    where tenant = $1 order by number desc limit 1
) as a
left join rulebook_trials t on t.tenant = $1 and t.ended_at is null
order by t.kind;

-- name: earlier_revisions
-- Revisions with active chains that do not decide any more. Those that decided lately count without a chain, too: a
-- transaction that began under them may still commit one.
select revision from chains where tenant = $1 and active and revision <> all($2::text[])
union
select revision from (
    select revision from rulebook_activations where tenant = $1 order by number desc limit 4
) as activated
where revision <> all($2::text[])
union
select revision from (
    select revision from rulebook_trials where tenant = $1 and kind = 'canary' order by number desc limit 2
) as tried
where revision <> all($2::text[]);

-- name: end_trial
-- End the open trials of a tenant that are of a kind or of a revision; a null is for any.
update rulebook_trials set ended_at = $4, result = $5, cause = $6
where tenant = $1 and ended_at is null and kind = coalesce($2, kind) and revision = coalesce($3, revision)
returning number, kind, revision;

-- name: written_to
-- Those of these people whom a chain of a revision has written to.
select distinct person_id from unnest($3::text[]) as asked (person_id)
where exists (
    select from chains c join messages m using (chain_id)
    where c.tenant = $1 and c.revision = $2 and m.person_id = asked.person_id
);

-- name: count_judged
-- So many more events and due steps were judged in a trial.
update rulebook_trials set judged = judged + $2 where number = $1 and ended_at is null;

-- name: count_differences
-- Count what a shadow would do differently.
insert into rulebook_trial_differences (trial, rule, kind, count, example, first_at, last_at)
select trial, rule, kind, count, example, $6, $6
from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[]) as t (trial, rule, kind, count, example)
on conflict (trial, rule, kind) do update set
    count = rulebook_trial_differences.count + excluded.count, example = excluded.example, last_at = excluded.last_at;

-- name: observe_trial
-- Write down what was observed of a canary, once for each kind and event.
insert into rulebook_trial_observations (trial, kind, about, detail, observed_at)
select trial, kind, about, detail::jsonb, $5
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as t (trial, kind, about, detail)
on conflict do nothing;

-- name: observe_set_aside
-- A chain of the open canary was set aside; null where the chain is not of it.
insert into rulebook_trial_observations (trial, kind, about, detail, observed_at)
select t.number, 'failure', c.chain_id, jsonb_build_object('error', $3::text), $4
from chains c join rulebook_trials t on t.tenant = c.tenant and t.revision = c.revision
where c.tenant = $1 and c.chain_id = $2 and t.kind = 'canary' and t.ended_at is null
on conflict do nothing
returning trial;

-- name: turn_back
-- End an open canary of which more was observed than it may have; returns it, and what there was too much of.
with observed as (
    select trial, o.kind, count(*) as count from rulebook_trial_observations o join rulebook_trials t on t.number = o.trial
    where t.tenant = $1 and t.kind = 'canary' and t.ended_at is null group by trial, o.kind
), passed as (
    select trial, string_agg(o.kind || ': ' || o.count, ', ' order by o.kind) as cause
    from observed o join rulebook_trials t on t.number = o.trial
    where o.count > case o.kind
        when 'opt_out' then t.max_opt_outs when 'failure' then t.max_failures else t.max_disagreements
    end
    group by trial
)
update rulebook_trials t set ended_at = $2, result = 'turned_back', cause = passed.cause
from passed where t.number = passed.trial
returning t.number, t.revision, t.cause;

-- name: last_canary_result
-- How the newest canary ended; null while it is open.
select result from rulebook_trials where tenant = $1 and kind = 'canary' order by number desc limit 1;

-- name: find_activation
-- The newest activation of a revision.
select number from rulebook_activations where tenant = $1 and revision = $2 order by number desc limit 1;

-- name: activate
-- Put a revision into force.
insert into rulebook_activations (tenant, revision, commit, activated_at, cause, who) values ($1, $2, $3, $4, $5, $6)
returning number;

-- name: record_points
-- From which offset on these partitions are decided by an activation.
insert into rulebook_switch_points (topic, partition, activation, from_offset)
select topic, partition, $4, from_offset from unnest($1::text[], $2::int[], $3::bigint[]) as t (topic, partition, from_offset)
on conflict do nothing;

-- name: lock_unmoved_partitions
-- Partitions that no batch has reached since an activation, and that no batch is being applied to.
select topic, partition, next_offset from progress p
where not exists (
    select from rulebook_switch_points s
    where s.topic = p.topic and s.partition = p.partition and s.activation >= $1
)
for update of p skip locked;

-- name: count_unmoved_partitions
-- Partitions that are not known to use an activation or a later one.
select count(*) from progress p
where not exists (
    select from rulebook_switch_points s
    where s.topic = p.topic and s.partition = p.partition and s.activation >= $1
);

-- name: forget_points
-- The points of activations that are long past.
delete from rulebook_switch_points where activation < $1;

-- name: find_source
-- The revision that a replica's source held when it was last read.
select replica, revision, commit, activation, refused, faults, read_at from rulebook_sources
where tenant = $1 and replica = $2;

-- name: find_last_source
-- The content of the source that was read last by any replica.
select replica, revision, commit, activation, refused, faults, read_at from rulebook_sources
where tenant = $1 order by read_at desc limit 1;

-- name: save_source
-- The revision that a replica's source holds.
insert into rulebook_sources (tenant, replica, revision, commit, activation, refused, faults, read_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant, replica) do update set
    revision = excluded.revision, commit = excluded.commit, activation = excluded.activation,
    refused = excluded.refused, faults = excluded.faults, read_at = excluded.read_at;

-- name: touch_source
-- A replica's source was read, and is unchanged.
update rulebook_sources set read_at = $3 where tenant = $1 and replica = $2;

-- name: forget_sources
-- Replicas that are long gone.
delete from rulebook_sources where tenant = $1 and read_at < $2;
