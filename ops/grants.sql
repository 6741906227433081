-- What the operator's role may do in each schema; run by the schema's owner at every migration, and harmless if repeated.

-- name: has_operator
select exists (select from pg_roles where rolname = 'stet_operator');

-- name: every
grant usage on schema SCHEMA to stet_operator;
grant select on all tables in schema SCHEMA to stet_operator;
grant execute on all functions in schema SCHEMA to stet_operator;
grant insert on SCHEMA.outbox to stet_operator;
grant update (state, note, settled_at) on SCHEMA.parked to stet_operator;
grant delete on SCHEMA.progress to stet_operator;

-- name: ingest
grant insert, update on ingest.erasures to stet_operator;

-- name: rules
grant insert, update, delete on rules.pauses to stet_operator;
grant update (next_due) on rules.chains to stet_operator;
grant delete on rules.chains_set_aside to stet_operator;
grant insert on rules.rulebook_activations to stet_operator;
grant insert, update on rules.rulebook_trials to stet_operator;
grant insert, update on rules.consent to stet_operator;
grant insert on rules.consent_ledger to stet_operator;

-- name: dispatcher
grant insert, update, delete on dispatcher.pauses to stet_operator;
grant update on dispatcher.messages, dispatcher.attempts to stet_operator;
grant update (value, until, reported_at) on dispatcher.account_limits to stet_operator;

-- name: writeback
grant insert, update, delete on writeback.pauses to stet_operator;
grant update on writeback.writes, writeback.tasks to stet_operator;
grant insert on writeback.evidence_entries to stet_operator;
grant insert, update on writeback.evidence_keys, writeback.evidence_chains, writeback.evidence_holds to stet_operator;
