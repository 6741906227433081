-- Pauses are rows that the owning service obeys: lines and templates in the dispatcher, rules in rules, a tenant in both
-- and in writeback.

-- name: pause
-- False where it was paused already.
insert into SCHEMA.pauses (tenant, kind, name, since, who, reason) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, kind, name) do nothing
returning true;

-- name: resume
delete from SCHEMA.pauses where tenant = $1 and kind = $2 and name = $3 returning true;

-- name: known_lines
-- Those with a message, and those whose number WhatsApp has described, as it has before the first one.
select distinct line from dispatcher.messages where tenant = $1
union
select distinct line from dispatcher.windows where tenant = $1
union
select line from dispatcher.line_quality where tenant = $1;

-- name: known_templates
select distinct template_name from dispatcher.messages where tenant = $1 and template_name is not null;

-- name: rule_files
-- The file names of the rulebook in force.
select jsonb_object_keys(files) from rules.rulebooks
where revision = (select revision from rules.rulebook_activations order by number desc limit 1);

-- name: known_rules
select distinct rule from rules.chains where tenant = $1;

-- name: held_by_line
select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'intent') as in_flight
from dispatcher.messages where tenant = $1 and line = $2 and state in ('waiting', 'intent');

-- name: held_by_template
select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'intent') as in_flight
from dispatcher.messages
where tenant = $1 and state in ('waiting', 'intent')
    and (template_name = $2 or regexp_replace(template_name, '_v[0-9]+$', '') = $2);

-- name: held_by_rule
select count(*) as waiting, 0::bigint as in_flight from rules.chains where tenant = $1 and rule = $2 and live;

-- name: held_by_tenant
select (select count(*) from dispatcher.messages where tenant = $1 and state = 'waiting') as waiting,
    (select count(*) from dispatcher.messages where tenant = $1 and state = 'intent')
    + (select count(*) from writeback.writes where tenant = $1 and state = 'intent') as in_flight;
