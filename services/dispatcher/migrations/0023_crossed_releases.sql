-- What may have begun to wait in the moment it was over: also for a template that was moved back from marketing, and behind an
-- earlier message.
drop index messages_hoping;
create index messages_hoping on messages (tenant, sequence) where state = 'waiting' and reason in (
    'unknown_person', 'template_paused', 'template_pending', 'template_rejected', 'template_missing',
    'template_recategorised', 'template_disabled', 'document_pending', 'earlier_message'
);
