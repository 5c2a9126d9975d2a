-- Work with an order key that stands behind earlier work of its key is set aside: a claim never looks at it again
-- until the deletion of what stands before it brings it back.
alter table work add column blocked boolean not null default false;
drop index work_due;
create index work_due on work (kind, lane, run_at, place) where not blocked;

-- A row is set aside while the row before it is locked, so whoever deletes that one comes later and finds it.
create function bring_back_next() returns trigger language plpgsql as $$
begin
  update work w set blocked = false
  where w.blocked and w.id = (
    select n.id from work n
    where n.series = old.series and n.order_key = old.order_key and n.place > old.place
    order by n.place limit 1);
  return null;
end $$;
create trigger bring_back_next after delete on work for each row when (old.order_key is not null)
  execute function bring_back_next();

-- Sets aside what is due in these lanes, is among their first rows and stands behind others. Returns how far each
-- lane was looked at. Only what is set aside is locked, with the row just before it, and locks are only tried: a claim
-- that sets nothing aside writes nothing.
create function set_aside(p_kind text, p_lanes text[], p_now timestamptz)
returns table (lane text, run_at timestamptz, place bigint) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
begin
  if not exists (select from work w where w.order_key is not null) then return; end if;
  return query
  with seen as materialized (
    select due.*
    from unnest(p_lanes) as l (lane)
    left join work_series paused on paused.series = split_part(l.lane, '/', 1) and paused.paused_until > p_now
    cross join lateral (
      select w.id, w.lane, w.series, w.order_key, w.run_at, w.place from work w
      where w.kind = p_kind and w.lane = l.lane and not w.blocked and w.run_at <= p_now
        and (w.lease_until is null or w.lease_until < now())
      order by w.run_at, w.place
      limit greatest(10, least(100, 2000 / cardinality(p_lanes)))
    ) due
    where paused.series is null and exists (
      select from work o where o.series = split_part(l.lane, '/', 1) and o.order_key is not null)
  ),
  behind as materialized (
    select s.id, before.id as before_id from seen s cross join lateral (
      select o.id from work o
      where o.series = s.series and o.order_key = s.order_key and o.place < s.place
      order by o.place desc
      limit 1
    ) before
  ),
  -- Not the one before that: whoever deletes the one in between would not find what was set aside meanwhile.
  before_held as materialized (
    select o.id from work o where o.id = any (array(select b.before_id from behind b)) for update skip locked
  ),
  held as materialized (
    select w.id from work w
    where w.id = any (array(select b.id from behind b join before_held h on h.id = b.before_id))
      and (w.lease_until is null or w.lease_until < now())
    for update skip locked
  ),
  aside as (
    update work w set blocked = true from held h where w.id = h.id
  )
  select distinct on (s.lane) s.lane, s.run_at, s.place from seen s order by s.lane, s.run_at desc, s.place desc;
end $$;

-- Makes the worker the one that works on these series, as far as they have limits and nobody else is.
create function own_series(p_worker uuid, p_series text[], p_seconds int) returns setof text language sql as $$
  update work_series s set owner = p_worker, owner_until = now() + p_seconds * interval '1 second'
  from (
    select series from work_series
    where series = any (p_series) and (most_running is not null or per_second is not null)
      and (owner is null or owner = p_worker or owner_until < now())
    order by series
    for update skip locked
  ) free
  where s.series = free.series
  returning s.series
$$;

-- As before, but: of series with limits only those that the worker owns are claimed, and those that nobody owns are
-- told (`ownable`) instead of taken, since their locks and those of the counters would not be taken in one order.
drop function claim_work;
create function claim_work(
  p_kind text, p_after text, p_lanes int, p_total int, p_per_lane int, p_busy text[], p_rooms int[],
  p_token uuid, p_lease_seconds int, p_now timestamptz, p_worker uuid default null
) returns table (
  id text, lane text, tenant_id text, product_id text, ref text, run_at timestamptz, attempts smallint,
  series text, number bigint, ordered boolean, most_running int, per_second real,
  next_after text, complete boolean, ownable text[]
) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_lanes text[];
  v_looked_at text[];
  v_until_times timestamptz[];
  v_until_places bigint[];
begin
  v_lanes := array(
    with recursive lanes (lane, place) as (
      (select w.lane, 1 from work w where w.kind = p_kind and not w.blocked and w.lane > p_after order by w.lane limit 1)
      union all
      select (
        select w.lane from work w where w.kind = p_kind and not w.blocked and w.lane > l.lane order by w.lane limit 1
      ), l.place + 1
      from lanes l where l.lane is not null and l.place < p_lanes
    )
    select l.lane from lanes l where l.lane is not null);
  select array_agg(a.lane), array_agg(a.run_at), array_agg(a.place)
  into v_looked_at, v_until_times, v_until_places from set_aside(p_kind, v_lanes, p_now) a;
  return query
  with lanes as (
    select l.lane, split_part(l.lane, '/', 1) as series, array_position(v_looked_at, l.lane) as looked_at
    from unnest(v_lanes) as l (lane)
  ),
  picked as materialized (
    select due.*, s.most_running, s.per_second
    from lanes l
    left join lateral (
      select *, least(most_running, case when per_second is not null then greatest(1, per_second / 10)::int end) as at_first
      from work_series where series = l.series
    ) s on true
    cross join lateral (
      select w.id, w.lane, w.series, w.number, w.run_at, w.place from work w
      where w.kind = p_kind and w.lane = l.lane and not w.blocked and w.run_at <= p_now
        and (w.run_at, w.place) <= (
          coalesce(v_until_times[l.looked_at], 'infinity'), coalesce(v_until_places[l.looked_at], 9223372036854775807))
        and (w.lease_until is null or w.lease_until < now())
        and (w.order_key is null or not exists (
          select from work o where o.series = w.series and o.order_key = w.order_key and o.place < w.place))
      order by w.run_at, w.place
      limit least(
        coalesce(p_rooms[array_position(p_busy, l.lane)], p_per_lane),
        coalesce(p_rooms[array_position(p_busy, l.series)], s.at_first, p_per_lane))
      for update skip locked
    ) due
    where (s.paused_until is null or s.paused_until <= p_now)
      and (s.most_running is null and s.per_second is null or s.owner = p_worker and s.owner_until > now())
    limit p_total
  ),
  counted as materialized (
    select p.series, count(*)::int as fresh
    from picked p where p.series is not null and p.number is null
    group by p.series
    order by p.series
  ),
  bumped as (
    insert into work_series as s (series, last_number)
    select c.series, c.fresh from counted c
    on conflict (series) do update set last_number = s.last_number + excluded.last_number
    returning s.series, s.last_number
  ),
  numbered as materialized (
    select p.id, p.most_running, p.per_second, coalesce(p.number, b.last_number - c.fresh + row_number() over (
      partition by p.series, p.number is null order by p.run_at, p.place)) as number
    from picked p left join bumped b on b.series = p.series left join counted c on c.series = p.series
  ),
  claimed as (
    update work w
    set lease_until = now() + p_lease_seconds * interval '1 second', attempts = w.attempts + 1, token = p_token,
      number = n.number
    from numbered n where w.id = n.id
    returning w.id, w.lane, w.tenant_id, w.product_id, w.ref, w.run_at, w.attempts, w.series, w.number, w.place,
      w.order_key is not null as ordered, n.most_running, n.per_second
  ),
  free as (
    select array_agg(distinct s.series) as series from lanes l join work_series s on s.series = l.series
    where (s.most_running is not null or s.per_second is not null) and (s.owner is null or s.owner_until < now())
      and (s.paused_until is null or s.paused_until <= p_now)
  ),
  seen as (
    select max(l.lane) as last_lane, count(l.lane) as lanes,
      (select count(*) from picked) = p_total as filled, (select max(p.lane) from picked p) as last_picked
    from lanes l
  )
  select c.id, c.lane, c.tenant_id, c.product_id, c.ref, c.run_at, c.attempts, c.series, c.number, c.ordered,
    c.most_running, c.per_second,
    case when s.filled then s.last_picked when s.lanes < p_lanes then '' else s.last_lane end,
    p_after = '' and s.lanes < p_lanes and not s.filled, f.series
  from seen s cross join free f left join claimed c on true
  order by c.run_at, c.place;
end $$;

-- As before, but what stands behind a row that is tried again is left where it is.
create or replace function finish_work(
  p_ids text[], p_tokens uuid[], p_outcomes text[], p_run_ats timestamptz[], p_errors text[], p_now timestamptz
) returns table (id text, token uuid)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select given.*, w.series
    from unnest(p_ids, p_tokens, p_outcomes, p_run_ats, p_errors) as given (id, token, outcome, run_at, error)
    join work w on w.id = given.id and w.token = given.token
    for update of w
  ),
  removed as (
    delete from work w using held h where w.id = h.id and h.outcome in ('done', 'dead')
    returning w.*, h.outcome, h.error
  ),
  buried as (
    insert into dead_work (
      id, kind, lane, tenant_id, product_id, ref, run_at, attempts, error, died_at, series, order_key, number)
    select r.id, r.kind, r.lane, r.tenant_id, r.product_id, r.ref, r.run_at, r.attempts, r.error, p_now,
      r.series, r.order_key, r.number
    from removed r where r.outcome = 'dead'
  ),
  returned as (
    update work w
    set run_at = coalesce(h.run_at, w.run_at), lease_until = null, token = null,
      lane = case when h.outcome = 'retry' and h.series is not null and w.lane not like '%/retry'
        then w.lane || '/retry' else w.lane end,
      attempts = w.attempts - case h.outcome when 'release' then 1 else 0 end
    from held h where w.id = h.id and h.outcome in ('retry', 'release')
    returning w.id, h.token
  )
  select r.id, r.token from removed r union all select r.id, r.token from returned r;
end $$;

revoke execute on function set_aside, own_series, claim_work, bring_back_next from public;
grant execute on function set_aside, own_series, claim_work to pipecore_system;
