alter table events
  -- The version of its type that the body has.
  add column version integer not null default 1,
  -- Of a product's event: its shapes of older versions, JSON from version to the text that is signed.
  -- Null of PipeCore's own events, whose older shapes are made from the body; what was stored before has none.
  add column older text default '{}';

-- The product gives a shape of it beside every newer one: endpoints may pin it.
alter table event_types add column supported boolean not null default false;

-- Which version of a type the endpoint is sent, such as {"order.paid": 1}.
alter table endpoints add column versions jsonb not null default '{}';

-- Stores events with a delivery for every endpoint that wants them and answers how many deliveries that made.
-- One statement whose plan is kept: planned anew for every fact it would cost more than it does.
-- The function without versions stays for processes of the release before, which run on while the first is upgraded.
create function record_events(
  p_ids text[], p_tenant_ids text[], p_product_ids text[], p_types text[], p_versions int[], p_entities text[],
  p_bodies text[], p_olders text[], p_trace_ids text[], p_occurred_ats timestamptz[], p_now timestamptz
) returns int language plpgsql as $$
declare
  opened int;
begin
  with given as materialized (
    select * from unnest(p_ids, p_tenant_ids, p_product_ids, p_types, p_versions, p_entities, p_bodies, p_olders,
        p_trace_ids, p_occurred_ats)
      with ordinality as event (id, tenant_id, product_id, type, version, entity, body, older, trace_id, occurred_at,
        place)
  ),
  stored as (
    insert into events (id, tenant_id, product_id, type, version, entity, body, older, trace_id, occurred_at)
    select id, tenant_id, product_id, type, version, entity, body, older, trace_id, occurred_at from given
  )
  insert into work (id, kind, lane, tenant_id, product_id, ref, run_at, series, order_key)
  select 'dlv_' || substr(g.id, 5, 10) || left(replace(gen_random_uuid()::text, '-', ''), 16),
    'delivery', e.id || '/' || g.tenant_id, g.tenant_id, g.product_id, g.id, p_now, e.id,
    case when e.ordered then g.entity end
  from given g
  join endpoints e on e.product_id = g.product_id and (e.tenant_id is null or e.tenant_id = g.tenant_id)
    and e.active and e.deleted_at is null
    and e.events && array['*', g.type, split_part(g.type, '.', 1) || '.*']
  -- Only a filter has the body parsed; `case` keeps that behind the cheap conditions.
  where case when e.filter_path is null then true else event_matches(g.body, e.filter_path) end
  order by g.place, e.id;
  get diagnostics opened = row_count;
  return opened;
end $$;
revoke execute on function record_events(
  text[], text[], text[], text[], int[], text[], text[], text[], text[], timestamptz[], timestamptz) from public;
grant execute on function record_events(
  text[], text[], text[], text[], int[], text[], text[], text[], text[], timestamptz[], timestamptz)
  to pipecore_app, pipecore_system;
