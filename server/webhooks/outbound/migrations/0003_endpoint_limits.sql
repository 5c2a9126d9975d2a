alter table endpoints
  -- Events about the same entity arrive one after another.
  add column ordered boolean not null default false,
  add column max_in_flight int check (max_in_flight > 0),
  add column max_per_second real check (max_per_second > 0);

-- How an endpoint that failed is doing; an endpoint without a row never did.
create table endpoint_health (
  endpoint_id text primary key collate "C" references endpoints (id),
  state text not null check (state in ('healthy', 'failing', 'open', 'catching_up')),
  failures int not null default 0,
  failing_since timestamptz,
  openings int not null default 0,
  paused_until timestamptz,
  recovered_at timestamptz,
  alerted smallint not null default 0,
  last_error text,
  updated_at timestamptz not null
);
alter table endpoint_health enable row level security;
alter table endpoint_health force row level security;
create policy every_health on endpoint_health for all to pipecore_system using (true) with check (true);
grant select, insert, update, delete on endpoint_health to pipecore_system;

alter table delivery_attempts add column number bigint;
alter table delivery_attempts drop constraint delivery_attempts_outcome_check;
alter table delivery_attempts add constraint delivery_attempts_outcome_check
  check (outcome in ('delivered', 'retry', 'throttled', 'dead'));
create index delivery_attempts_by_number on delivery_attempts (endpoint_id, number);

-- A lane is a tenant's share of an endpoint, so that no tenant waits behind another at an endpoint of their product.
update work set series = lane, lane = lane || '/' || tenant_id where kind = 'delivery';

-- Stores events with a delivery for every endpoint that wants them and answers how many deliveries that made.
-- One statement whose plan is kept: planned anew for every fact it would cost more than it does.
create function record_events(
  p_ids text[], p_tenant_ids text[], p_product_ids text[], p_types text[], p_entities text[], p_bodies text[],
  p_trace_ids text[], p_occurred_ats timestamptz[], p_now timestamptz
) returns int language plpgsql as $$
declare
  opened int;
begin
  with given as materialized (
    select * from unnest(p_ids, p_tenant_ids, p_product_ids, p_types, p_entities, p_bodies, p_trace_ids, p_occurred_ats)
      with ordinality as event (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at, place)
  ),
  stored as (
    insert into events (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at)
    select id, tenant_id, product_id, type, entity, body, trace_id, occurred_at from given
  )
  insert into work (id, kind, lane, tenant_id, product_id, ref, run_at, series, order_key)
  select 'dlv_' || substr(g.id, 5, 10) || left(replace(gen_random_uuid()::text, '-', ''), 16),
    'delivery', e.id || '/' || g.tenant_id, g.tenant_id, g.product_id, g.id, p_now, e.id,
    case when e.ordered then g.entity end
  from given g
  join endpoints e on e.product_id = g.product_id and (e.tenant_id is null or e.tenant_id = g.tenant_id)
    and e.active and e.deleted_at is null
    and e.events && array['*', g.type, split_part(g.type, '.', 1) || '.*']
  order by g.place, e.id;
  get diagnostics opened = row_count;
  return opened;
end $$;

revoke execute on function record_events from public;
grant execute on function record_events to pipecore_app, pipecore_system;
