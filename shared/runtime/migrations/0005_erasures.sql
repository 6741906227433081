-- The people whose data is to be gone from this schema, and how far that is. A pass is repeated, for what was on its way
-- while an earlier one ran; `next_at` (business time) is null once it is complete. `words` are what the person is searched by
-- (names, numbers, WhatsApp ids): they are gone with the last pass. `left_over` names what still held them after the newest.
create table erasures (
    tenant text not null,
    person_id text not null,
    requested_at timestamptz not null,
    words text[] not null,
    passes integer not null default 0,
    next_at timestamptz,
    left_over jsonb not null default '{}',
    completed_at timestamptz,
    primary key (tenant, person_id)
);
create index erasures_due on erasures (next_at) where next_at is not null;
