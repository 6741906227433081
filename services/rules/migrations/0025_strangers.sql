-- When messages of people whom Consonance does not know lately started chains: one row, instants alone. `version` rises with each
-- change, so that two transactions that count at the same time notice each other.
create table strangers (
    tenant text primary key,
    version bigint not null,
    document jsonb not null
);
