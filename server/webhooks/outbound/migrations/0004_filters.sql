alter table endpoints
  -- A match on the body, as it was given, and as the one jsonpath it was translated into.
  add column filter text,
  add column filter_path jsonpath,
  add constraint filter_is_translated check ((filter is null) = (filter_path is null));

-- Whether a body matches an endpoint's filter. What jsonb can't hold, such as half a character, is delivered
-- rather than lost, and never fails the transaction that records the fact. So is a body so full of lists that testing
-- it would hold up the events of others: values of lists times conditions is what it costs.
create function event_matches(p_body text, p_path jsonpath) returns boolean language plpgsql immutable strict parallel unsafe as $$
begin
  if (length(p_body) - length(replace(p_body, ',', '')))::bigint * length(p_path::text) > 5000000 then return true; end if;
  return coalesce(p_body::jsonb @@ p_path, false);
exception when others then
  return true;
end $$;
revoke execute on function event_matches from public;
grant execute on function event_matches to pipecore_app, pipecore_system;

-- Stores events with a delivery for every endpoint that wants them and answers how many deliveries that made.
-- One statement whose plan is kept: planned anew for every fact it would cost more than it does.
create or replace function record_events(
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
  -- Only a filter has the body parsed; `case` keeps that behind the cheap conditions.
  where case when e.filter_path is null then true else event_matches(g.body, e.filter_path) end
  order by g.place, e.id;
  get diagnostics opened = row_count;
  return opened;
end $$;
