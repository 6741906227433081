-- What a throttle of its template holds is released in portions, in the order of the messages.
create index messages_template_throttled on messages (tenant, sequence)
where state = 'waiting' and reason = 'template_throttled';
