-- What changed a person's consent, one entry for each change: the document is the consent after it. Entries of older
-- versions have the document and its evidence alone.
alter table consent_ledger
    add column change text,
    add column at timestamptz,
    add column source text,
    add column evidence text,
    add column line text;
create index consent_ledger_by_person on consent_ledger (tenant, person_id, entry);
