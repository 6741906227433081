-- What Consonance last said of each record, and which fields of it had a complete first pass.
CREATE TABLE snapshots (
    tenant text NOT NULL,
    entity text NOT NULL, -- works, contacts
    id bigint NOT NULL,
    version bigint NOT NULL, -- rises with every difference; event ids are made of it
    view jsonb NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, entity, id)
);
-- Where a pass stands; a pass that was interrupted goes on after ``after``.
CREATE TABLE passes (
    tenant text NOT NULL,
    entity text NOT NULL,
    started_at timestamptz NOT NULL,
    changed_since date, -- null: everything
    after bigint NOT NULL,
    completed_at timestamptz,
    fields text[] NOT NULL, -- that had a complete first pass: differences in others are silent
    PRIMARY KEY (tenant, entity)
);
