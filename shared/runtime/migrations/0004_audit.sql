-- The conservation audit: what a service took over and owes an end for, where the end did not come in time. `subject`
-- is an id (a message, an event, a write, a chain); `since` is on the clock of its hop, the other instants machine time.
create table audit_gaps (
    id bigint generated always as identity primary key,
    hop text not null,
    subject text not null,
    since timestamptz not null,
    reason text not null,
    first_seen timestamptz not null,
    closed_at timestamptz
);
create unique index audit_gaps_open on audit_gaps (hop, subject) where closed_at is null;
create index audit_gaps_closed on audit_gaps (closed_at) where closed_at is not null;

-- One row per hop: when its audit last ran to its end, how much it has checked, and up to where what it checks once is
-- checked (on the clock of the hop).
create table audit_runs (
    hop text primary key,
    ran_at timestamptz not null,
    checked bigint not null,
    checked_to timestamptz
);

-- What was not due yet for a good reason when its hop was checked last (machine time): it is checked again.
create table audit_pending (
    hop text not null,
    subject text not null,
    since timestamptz not null,
    primary key (hop, subject)
);
