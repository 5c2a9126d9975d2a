-- With a queue between the processes one of them claims for all: it hands what it claimed to the others. `name` sets
-- apart what several installations have in one NATS.
create table work_feeders (
  kind text primary key collate "C" check (kind in ('job', 'delivery')),
  name uuid not null default gen_random_uuid(),
  owner uuid,
  owner_until timestamptz
);
alter table work_feeders enable row level security;
alter table work_feeders force row level security;
create policy every_feeder on work_feeders for all to pipecore_system using (true) with check (true);
grant select, update on work_feeders to pipecore_system;
alter table work_feeders no force row level security;
insert into work_feeders (kind) values ('delivery');
alter table work_feeders force row level security;
