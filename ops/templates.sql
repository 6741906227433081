-- What `stet templates status` reads, as the operator.

-- name: templates
-- Every template that Meta reported or that messages wait for, and how many of them; a template of which nothing was
-- reported has only its messages.
with waiting as (
    select template_name as name, template_language as language, count(*) as messages, min(reason) as reason
    from dispatcher.messages
    where tenant = $1 and state = 'waiting' and reason in (
        'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
        'template_disabled'
    )
    group by template_name, template_language
)
select coalesce(t.name, w.name) as template, coalesce(t.language, w.language) as language,
    coalesce(t.status, upper(t.state), 'MISSING') as status, coalesce(t.category, '') as category,
    coalesce(t.previous_category, '') as moved_from, coalesce(t.quality, '') as quality,
    coalesce(w.messages, 0) as waiting, coalesce(t.reason, w.reason, '') as reason,
    nullif(t.reported_at, '-infinity') as reported_at
from (select * from dispatcher.templates where tenant = $1) t
full join waiting w on w.name = t.name and w.language = t.language
order by 1, 2;

-- name: last_reading
select max(read_at) from dispatcher.template_readings where tenant = $1;
