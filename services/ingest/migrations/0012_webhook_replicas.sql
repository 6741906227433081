-- The replicas that receive webhooks, each with its last heartbeat, by the database's clock: one that ends without removing
-- its row may have left webhooks without an answer.
create table webhook_replicas (
    tenant text not null,
    account text not null,
    replica text not null,
    beaten_at timestamptz not null,
    primary key (tenant, account, replica)
);
