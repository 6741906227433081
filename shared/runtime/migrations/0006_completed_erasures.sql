-- What deleting records of completed erasures finds its rows by.
create index erasures_completed on erasures (completed_at) where completed_at is not null;
