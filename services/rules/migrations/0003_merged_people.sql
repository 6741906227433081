-- Who was merged into somebody is looked up whenever that person is.
create index people_by_merged on people (tenant, (document ->> 'merged_into')) where document ? 'merged_into';
