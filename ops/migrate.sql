-- name: has_role
select exists (select from pg_roles where rolname = $1) as it_exists,
    case when exists (select from pg_roles where rolname = $1) then pg_has_role(current_user, $1, 'set') else false end as may_set;

-- name: create_role
-- A service logs in by a role of its own, and sees no other's schema. Its password or certificate is given at the installation.
create role ROLE login;

-- name: join_role
-- Only a session that may act as a role can create what the role is to own.
do $$ begin execute format('grant ROLE to %I with set true', current_user); end $$;

-- name: has_schema
select exists (select from pg_namespace where nspname = $1);

-- name: create_schema
create schema SCHEMA authorization ROLE;

-- name: close_schema
revoke all on schema SCHEMA from public;

-- name: ledger
create table if not exists migrations (name text primary key, digest text not null, applied_at timestamptz not null);

-- name: applied
select name, digest from migrations;

-- name: apply
insert into migrations (name, digest, applied_at) values ($1, $2, $3);
