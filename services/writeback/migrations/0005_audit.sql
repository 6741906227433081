-- What the conservation audit needs to find writes that have their outcome, and whose evidence is missing.
create index writes_settled on writes (settled_at) where settled_at is not null;
create index evidence_write on evidence (tenant, write_id);
