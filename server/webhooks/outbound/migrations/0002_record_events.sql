-- Stores events with a delivery for every endpoint that wants them and answers how many deliveries that made.
-- One statement whose plan is kept: planned anew for every fact it would cost more than it does. The deliveries
-- of one call keep the order of its events: `place` leads the random part of their ids.
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
  insert into work (id, kind, lane, tenant_id, product_id, ref, run_at)
  select 'dlv_' || substr(g.id, 5, 10) || lpad(to_hex(g.place), 4, '0') || left(replace(gen_random_uuid()::text, '-', ''), 12),
    'delivery', e.id, g.tenant_id, g.product_id, g.id, p_now
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
