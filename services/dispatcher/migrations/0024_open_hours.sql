-- When the person of a message may be written to until it expires: an opening, its closing, the next opening, and so on.
-- Null: at any hour, as for a reply, and for what earlier versions took over.
alter table messages add column open_hours timestamptz[];
