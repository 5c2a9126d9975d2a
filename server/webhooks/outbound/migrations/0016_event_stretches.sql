-- An entity's events are found by the stretch of time (2^21 ms, 35 minutes) that each was recorded in: all new entries
-- of the index are in its last one. With the entity first each was somewhere else, and after a checkpoint nearly every
-- event brought a whole page of the index into the WAL. Null of events from before.
alter table events add column stretch text collate "C";
drop index events_of_entity;
create index events_of_entity on events (tenant_id, stretch, entity);

-- Six letters of an id's time, of which the last is every other one.
create function stretch_of(p_id text) returns text language sql immutable strict parallel safe as $$
  select substr(p_id, 5, 5)
    || translate(substr(p_id, 10, 1), '0123456789abcdefghjkmnpqrstvwxyz', '0022446688aacceeggjjmmpprrttwwyy')
$$;

-- The stretches from that of one event to that of another, and an id behind all that each may have.
create function event_stretches(p_first text, p_last text) returns table (stretch text, end_id text)
language sql immutable strict parallel safe rows 1300 as $$
  select (start || letter) collate "C", 'evt_' || start || translate(letter, '02468acegjmprtwy', '13579bdfhknqsvxz') || '~'
  from generate_series(
      (day_of_id(p_first) - 1)::timestamp at time zone 'UTC',
      -- So long 32 letters last: the next to last one moves on.
      (day_of_id(p_last) + 2)::timestamp at time zone 'UTC', interval '33554.432 seconds') moment,
    lateral (select substr(id_bound('evt', moment), 5, 5) collate "C" as start offset 0) begun,
    string_to_table('02468acegjmprtwy', null) letter
  where start between substr(p_first, 5, 5) and substr(p_last, 5, 5)
$$;
revoke execute on function event_stretches from public;
grant execute on function event_stretches, day_of_id to pipecore_app, pipecore_system;

-- As before, with the stretch.
create or replace function record_events(
  p_ids text[], p_tenant_ids text[], p_product_ids text[], p_types text[], p_versions int[], p_entities text[],
  p_bodies text[], p_olders text[], p_trace_ids text[], p_occurred_ats timestamptz[], p_now timestamptz
) returns int language plpgsql as $$
declare
  opened int;
begin
  with given as materialized (
    select generate_subscripts(p_ids, 1) as place, unnest(p_ids) as id, unnest(p_tenant_ids) as tenant_id,
      unnest(p_product_ids) as product_id, unnest(p_types) as type, unnest(p_versions) as version,
      unnest(p_entities) as entity, unnest(p_bodies) as body, unnest(p_olders) as older,
      unnest(p_trace_ids) as trace_id, unnest(p_occurred_ats) as occurred_at
  ),
  stored as (
    insert into events (id, tenant_id, product_id, type, version, entity, body, older, trace_id, occurred_at, stretch)
    select id, tenant_id, product_id, type, version, entity, body, older, trace_id, occurred_at, stretch_of(id)
    from given
  )
  insert into work (id, kind, lane, tenant_id, product_id, ref, run_at, series, order_key)
  -- An event's id is random already, and goes to an endpoint once.
  select 'dlv_' || substr(g.id, 5, 10) || lpad(to_hex(hashtextextended(g.id || e.id, 0)), 16, '0'),
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
