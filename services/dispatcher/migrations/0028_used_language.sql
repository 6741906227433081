-- The language of `used_template`; null in rows whose newest attempt an earlier version began.
alter table messages add column used_language text;
