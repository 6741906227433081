-- What is released in portions is found in the order of the messages.
drop index messages_paused;
create index messages_paused on messages (tenant, sequence) where state = 'waiting' and reason = 'paused_by_operator';
drop index messages_over_budget;
create index messages_over_budget on messages (tenant, sequence) where state = 'waiting' and reason = 'budget_spent';
drop index messages_for_template;
create index messages_for_template on messages (tenant, sequence) where state = 'waiting' and reason in (
    'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
    'template_disabled'
);
create index messages_limited on messages (tenant, sequence)
where state = 'waiting' and reason in ('portfolio_limit', 'account_restricted');
