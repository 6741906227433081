-- Tables and columns get the names that the code and the documentation use.
alter table messages rename column spoken to content;
alter table templates rename column said_at to reported_at;

alter table streams rename to webhook_coverage;
alter table webhook_coverage rename column whole_since to covered_since;
alter table webhook_coverage rename column whole_until to covered_until;

alter table holds rename to throttles;
alter table throttles rename column runs to clock;
alter table throttles rename column strikes to trips;
