-- What a report or a throttle of a template holds is released in portions, all of it in the order of the messages.
drop index messages_template_throttled;
drop index messages_for_template;
create index messages_for_template on messages (tenant, sequence) where state = 'waiting' and reason in (
    'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
    'template_disabled', 'template_throttled'
);

-- What may have begun to wait in the moment it was over; the leader itself releases what waits for templates.
drop index messages_hoping;
create index messages_hoping on messages (tenant, sequence)
where state = 'waiting' and reason in ('unknown_person', 'document_pending', 'earlier_message');
