-- Enters a batch into the inbox and gives the places, from 1, of what was in it already; repeats within it were removed.
-- As a rule nothing was, so that rows go in without asking first, at half the price; where one was, all are asked for.
create function enter(of_tenant text, sources json, ids json, is_brief boolean, at timestamptz) returns setof bigint
language plpgsql as $$
begin
    insert into inbox (tenant, source, id, seen_at, brief)
    select of_tenant, given.source, given.id, at, is_brief
    from rows from (json_array_elements_text(sources), json_array_elements_text(ids)) as given (source, id);
exception when unique_violation then
    return query
        with given as (
            select *
            from rows from (json_array_elements_text(sources), json_array_elements_text(ids))
                with ordinality as g (source, id, place)
        ), fresh as (
            insert into inbox (tenant, source, id, seen_at, brief)
            select of_tenant, given.source, given.id, at, is_brief from given
            on conflict do nothing
            returning inbox.source, inbox.id
        )
        select place from given
        where not exists (select from fresh where (fresh.source, fresh.id) = (given.source, given.id));
end
$$;

-- Whoever leaves something tells the relay, which listens on the channel of its schema.
create function tell_relay() returns trigger
language plpgsql as $$
begin
    perform pg_notify('stet_outbox_' || tg_table_schema, '');
    return null;
end
$$;
create trigger outbox_filled after insert on outbox for each statement execute function tell_relay();
