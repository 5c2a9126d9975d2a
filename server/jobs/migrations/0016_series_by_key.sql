-- As before, but what is numbered or removed is found by its key, as what ends is (0012): taken to have one row, all of the
-- table was read to join it.
create or replace function number_work(p_kind text, p_series text, p_most int) returns int language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count int;
begin
  with recursive lanes (dormant, lane) as (
    select d.dormant, (select w.lane from work w
      where w.kind = p_kind and w.dormant = d.dormant and not w.blocked
        and w.lane > p_series || '/' and w.lane < p_series || '0'
      order by w.lane limit 1)
    from (values (false), (true)) d (dormant)
    union all
    select l.dormant, (select w.lane from work w
      where w.kind = p_kind and w.dormant = l.dormant and not w.blocked and w.lane > l.lane and w.lane < p_series || '0'
      order by w.lane limit 1)
    from lanes l where l.lane is not null
  ),
  waiting as materialized (
    select due.* from lanes l cross join lateral (
      select w.id, w.run_at, w.place from work w
      where w.kind = p_kind and w.dormant = l.dormant and w.lane = l.lane and not w.blocked and w.number is null
      order by w.run_at, w.place
      limit p_most
    ) due
    where l.lane is not null
    union all
    select w.id, w.run_at, w.place from work w
    where w.series = p_series and w.order_key is not null and w.blocked and w.number is null
  ),
  wanted as materialized (
    select id from waiting order by run_at, place limit p_most
  ),
  held as materialized (
    select w.id, w.run_at, w.place, w.order_key from work w
    where w.id = any (array(select id from wanted)) and w.number is null
    for update skip locked
  ),
  -- What stands behind a row of its key that somebody else is numbering waits for the next time.
  ready as materialized (
    select h.id, case when h.order_key is null then h.run_at
      else max(h.run_at) over (partition by h.order_key order by h.place) end as run_at, h.place
    from held h
    where h.order_key is null or not exists (
      select from work o where o.series = p_series and o.order_key = h.order_key and o.place < h.place
        and o.number is null and o.id <> all (array(select id from held)))
  ),
  bumped as (
    insert into work_series as s (series, last_number)
    select p_series, count(*) from ready having count(*) > 0
    on conflict (series) do update set last_number = s.last_number + excluded.last_number
    returning s.last_number
  ),
  numbered as (
    update work w set number = b.last_number - h.total + h.nth
    from (
      select id, row_number() over (order by run_at, place) as nth, count(*) over () as total from ready
    ) h cross join bumped b
    where w.id = any (array(select r.id from ready r)) and w.id = h.id
    returning w.id
  )
  select count(*) into v_count from numbered;
  return v_count;
end $$;

create or replace function remove_work(p_kind text, p_series text, p_through bigint, p_numbers bigint[], p_most int)
returns table (id text, ref text, tenant_id text, number bigint) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select w.id from work w
    where w.id = any (array(
      select n.id from work n
      where n.kind = p_kind and n.dormant in (false, true) and not n.blocked and n.lane > p_series || '/' and n.lane < p_series || '0'
        and (n.number <= p_through or n.number = any (p_numbers))
      union all
      select n.id from work n
      where n.series = p_series and n.order_key is not null and n.blocked
        and (n.number <= p_through or n.number = any (p_numbers))))
    order by w.id
    limit p_most
    for update
  )
  delete from work w where w.id = any (array(select h.id from held h))
  returning w.id, w.ref, w.tenant_id, w.number;
end $$;
