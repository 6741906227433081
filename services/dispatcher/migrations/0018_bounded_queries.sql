-- What the loops of the dispatcher ask again and again costs the same however long the queue is.

-- Messages behind an earlier one of their chat that were taken out of the claim's way; released when that one has gone.
create index messages_behind_earlier on messages (tenant, person_id, line, sequence)
where state = 'waiting' and reason = 'earlier_message';

-- Messages that may have begun to wait in the moment it was over are looked at in turns, in this order.
drop index messages_hoping;
create index messages_hoping on messages (tenant, sequence) where state = 'waiting' and reason in (
    'unknown_person', 'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_disabled',
    'document_pending'
);

-- What deleting by age finds its rows by.
create index early_statuses_by_age on early_statuses (tenant, kept_at);
