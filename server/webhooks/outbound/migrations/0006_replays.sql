-- Replays: what an operator wants to have sent again. Each endpoint of one has a row that says how far it came.
create table replays (
  id text primary key collate "C",
  product_id text not null collate "C" references products (id),
  -- The tenant whose key made it; null for a product's.
  tenant_id text collate "C" references tenants (id),
  tenant_ids text[],
  types text[],
  states text[] not null,
  -- Of the event log, from the first to before the second.
  first_id text not null collate "C",
  end_id text not null collate "C",
  per_second real not null check (per_second > 0),
  state text not null default 'running' check (state in ('running', 'paused', 'canceled')),
  trace_id text not null,
  created_at timestamptz not null,
  changed_at timestamptz not null
);
create index replays_of_product on replays (product_id, id);
alter table replays enable row level security;
alter table replays force row level security;
create policy every_replay on replays for all to pipecore_system using (true) with check (true);
grant select, insert, update on replays to pipecore_system;

create table replay_endpoints (
  replay_id text not null collate "C" references replays (id),
  endpoint_id text not null collate "C" references endpoints (id),
  -- The last event that was decided on.
  cursor text not null collate "C",
  -- Fences off the job of a step that was done already.
  step bigint not null default 0,
  looked_at bigint not null default 0,
  sent bigint not null default 0,
  -- The rate allows nothing before.
  free_at timestamptz not null,
  moved_at timestamptz not null,
  waiting_for text check (waiting_for in ('backlog', 'endpoint_off', 'endpoint_paused')),
  error text,
  ended_at timestamptz,
  primary key (replay_id, endpoint_id)
);
alter table replay_endpoints enable row level security;
alter table replay_endpoints force row level security;
create policy every_replay_endpoint on replay_endpoints for all to pipecore_system using (true) with check (true);
grant select, insert, update on replay_endpoints to pipecore_system;
