-- Names that say what a column holds. Only names change.

alter table writes rename column lane to ordering_key;
alter table writes rename column once_key to idempotency_key;
alter table writes rename column looks to reads;
alter table writes rename column unknown_told to is_unknown_published;
comment on column writes.ordering_key is
    'The partition key: writes of one work (else one record) are executed one at a time.';
comment on column writes.idempotency_key is 'Writes with the same key have one effect together.';
comment on column writes.reads is 'Reads of Consonance in a row that settled nothing; the next waits longer.';
comment on column writes.value is 'The value in Consonance because of this write, where that is one value.';
alter index writes_lane rename to writes_ordering;
alter index writes_held rename to writes_blocking;
alter index writes_once rename to writes_idempotency;

alter table tasks rename column wanted to changes;
alter table tasks rename column said to error_messages;
comment on column tasks.error_messages is 'The error texts of Consonance, where it refused.';

alter function evidence_stands() rename to reject_evidence_change;
