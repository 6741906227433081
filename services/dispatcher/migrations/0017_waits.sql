-- A message that goes whatever the month's budget says, such as the confirmation of an opt-out.
alter table messages add column mandatory boolean not null default false;

-- Messages held until the budget allows them, to be released where it does.
create index messages_over_budget on messages (tenant) where state = 'waiting' and reason = 'budget_spent';

-- Messages whose template Meta has disabled wait, too.
drop index messages_for_template;
create index messages_for_template on messages (tenant) where state = 'waiting' and reason in (
    'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
    'template_disabled'
);

drop index messages_hoping;
create index messages_hoping on messages (tenant) where state = 'waiting' and reason in (
    'unknown_person', 'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_disabled'
);
