-- Which messages keep another one of their chat back. The queries of the queue ask for them one message at a time, and
-- PostgreSQL puts the function's text in the place of its call, so it costs no more than the condition written out.
-- Returned are columns by name: a function that returns whole rows would fail when the table gets another column.
create function earlier_messages (
    of_tenant text, of_person text, of_line text, of_chain text, before_sequence bigint, passed_reasons text[]
)
returns table (message_id text, state text, not_before timestamptz)
language sql stable
begin atomic
    -- A message of another chain may pass those that wait, or whose chain waits, for one of `passed_reasons`.
    select e.message_id, e.state, e.not_before
    from messages e
    where e.tenant = of_tenant and e.person_id = of_person and e.line = of_line and e.sequence < before_sequence
        and e.state in ('waiting', 'intent') and e.set_aside is null
        and (e.chain = of_chain or not exists (
            select from messages t
            where t.tenant = of_tenant and t.person_id = of_person and t.line = of_line and t.sequence <= e.sequence
                and t.state in ('waiting', 'intent', 'uncertain') and (t.state = 'waiting') is true
                and t.reason = any (passed_reasons)
                and (t.sequence = e.sequence or t.chain = e.chain)
        ));
end;
