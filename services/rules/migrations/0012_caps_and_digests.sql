-- The messages to each person that count for the caps of limits.yaml. `version` rises with each change, so that two transactions
-- that count at the same time notice each other.
create table counted_messages (
    tenant text not null,
    person_id text not null,
    version bigint not null,
    document jsonb not null,
    primary key (tenant, person_id)
);
-- Several messages may go within one digest: each has its row, and names it.
alter table messages add column digest text;
create index messages_by_digest on messages (digest) where digest is not null;
-- The people for whom a chain holds a message until their hour, or until their cap has room.
alter table chains add column holds_for text[] not null default '{}';
create index chains_holding on chains using gin (holds_for) where live and holds_for <> '{}';
