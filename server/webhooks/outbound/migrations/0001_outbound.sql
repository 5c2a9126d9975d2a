-- Where a product's (tenant_id null) or one tenant's events go.
create table endpoints (
  id text primary key collate "C",
  product_id text not null collate "C" references products (id),
  tenant_id text collate "C" references tenants (id),
  url text not null,
  events text[] not null,
  sealed_headers text,
  sealed_secret text not null,
  sealed_previous_secret text,
  previous_secret_expires_at timestamptz,
  active boolean not null default true,
  disabled_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index endpoints_of_product on endpoints (product_id, tenant_id, id);
alter table endpoints enable row level security;
alter table endpoints force row level security;
-- A tenant's transaction fans out to its own endpoints and to those its product has for all of its tenants.
create policy reachable_endpoints on endpoints for select to pipecore_app using (
  tenant_id = (select nullif(current_setting('app.tenant_id', true), ''))
  or (tenant_id is null and product_id = (select nullif(current_setting('app.product_id', true), ''))));
create policy every_endpoint on endpoints for all to pipecore_system using (true) with check (true);
grant select on endpoints to pipecore_app;
grant select, insert, update on endpoints to pipecore_system;

-- Append-only: the body is stored once, as the bytes that are signed.
create table events (
  id text not null collate "C",
  tenant_id text not null collate "C",
  product_id text not null collate "C",
  type text not null,
  entity text not null collate "C",
  body text not null,
  trace_id text not null,
  occurred_at timestamptz not null,
  primary key (id)
) partition by range (id);
create index events_of_tenant on events (tenant_id, id);
create index events_of_product on events (product_id, id);
create index events_of_entity on events (tenant_id, entity, id);
select protect_table('events', 'select, insert', 'select, insert');

-- Append-only: one row per try to deliver an event to an endpoint.
create table delivery_attempts (
  id text not null collate "C",
  delivery_id text not null collate "C",
  event_id text not null collate "C",
  endpoint_id text not null collate "C",
  tenant_id text not null collate "C",
  attempt smallint not null,
  outcome text not null check (outcome in ('delivered', 'retry', 'dead')),
  status smallint,
  error text,
  response text,
  duration_ms integer not null,
  next_attempt_at timestamptz,
  attempted_at timestamptz not null,
  primary key (id)
) partition by range (id);
create index delivery_attempts_of_event on delivery_attempts (event_id, id);
create index delivery_attempts_of_endpoint on delivery_attempts (endpoint_id, id);
select protect_table('delivery_attempts', 'select', 'select, insert');

insert into partitioned_tables (table_name, id_prefix, keep_days) values ('events', 'evt', 30), ('delivery_attempts', 'att', 30);
select maintain_partitions();
