-- As before, but what was claimed of a lane lately is not walked again. An entry of the index stays until a vacuum may
-- remove it, and none may while anybody's transaction is open that is older, such as a backup's: after 60,000 events
-- delivered meanwhile each further one cost four times as much. A claim begins in the lanes of p_floors at the time given
-- under their names. What is due there since before, since its transaction committed late or its process died, is found
-- by a claim that is told no floors.
-- Claims due work of one kind, lane after lane from p_from on, until it has p_total rows or has looked at p_lanes
-- lanes. A lane gives at most p_per_lane rows and all lanes of a series together p_per_series, or what p_rooms says
-- under the lane's name or the series'; a series begins behind the lane that p_behind has for it. Lanes of what is
-- tried again give p_retries together, from behind p_retries_behind on, and with none nothing is taken that was tried
-- before. Series that are paused, have no room, or have limits and another owner are stepped over as a whole; those with
-- limits that nobody owns are told (`ownable`).
-- Returns one row even when there is nothing: where the next claim starts, whether this one has seen every lane, and
-- whether it has set aside or woken work so that another one finds more.
-- The planner is pinned: on an empty or freshly filled table it has no statistics and picks plans that sort.
drop function claim_work;
create function claim_work(
  p_kind text, p_from text, p_lanes int, p_total int, p_per_lane int, p_per_series int, p_rooms jsonb, p_behind jsonb,
  p_retries int, p_retries_behind text, p_token uuid, p_lease_seconds int, p_now timestamptz, p_worker uuid default null,
  p_floors jsonb default '{}'
) returns table (
  id text, lane text, tenant_id text, product_id text, ref text, run_at timestamptz, attempts smallint,
  series text, number bigint, ordered boolean, most_running int, per_second real,
  next_from text, complete boolean, stirred boolean, ownable text[]
) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  c_most_woken constant int := 1000;
  v_stirred boolean := false;
  v_from text collate "C" := p_from;
  v_lane text collate "C";
  -- Lanes that have a floor, in order, and the place of the next one.
  v_marks text[] := array(select lane from jsonb_object_keys(p_floors) as given (lane) order by lane collate "C");
  v_next_mark int := 1;
  v_mark text collate "C";
  v_floor timestamptz;
  v_series text := '';
  v_behind text collate "C";
  v_is_retried boolean;
  v_kept work_series;
  v_is_ordered boolean;
  v_series_room int;
  v_room int;
  v_retries int := p_retries;
  -- Rows that claims look at in ordered series, so that a deep one does not hold up the others.
  v_to_look_at int := 2000;
  v_seen record;
  v_picked tid[];
  v_rows tid[] := '{}';
  v_limited text[] := '{}';
  v_ownable text[];
begin
  if exists (select from work w where w.kind = p_kind and w.dormant and w.run_at <= p_now + interval '1 second') then
    v_stirred := wake_dormant(p_kind, p_now, c_most_woken) = c_most_woken;
  end if;
  for v_place in 0 .. p_lanes loop
    loop
      while v_marks[v_next_mark] < v_from loop v_next_mark := v_next_mark + 1; end loop;
      v_mark := v_marks[v_next_mark];
      v_floor := '-infinity';
      if v_mark is null then
        select w.lane into v_lane from work w
        where w.kind = p_kind and not w.dormant and not w.blocked and w.lane >= v_from
        order by w.lane limit 1;
        exit;
      end if;
      select w.lane into v_lane from work w
      where w.kind = p_kind and not w.dormant and not w.blocked and w.lane >= v_from and w.lane < v_mark
      order by w.lane limit 1;
      exit when v_lane is not null;
      v_floor := (p_floors ->> v_mark)::timestamptz;
      select w.lane into v_lane from work w
      where w.kind = p_kind and not w.dormant and not w.blocked and w.lane = v_mark and w.run_at >= v_floor
      order by w.run_at limit 1;
      exit when v_lane is not null;
      v_from := v_mark || chr(1);
    end loop;
    exit when v_lane is null or v_place = p_lanes or cardinality(v_rows) = p_total;
    v_from := v_lane || chr(1);
    if split_part(v_lane, '/', 1) <> v_series then
      v_series := split_part(v_lane, '/', 1);
      v_kept := null;
      v_is_ordered := false;
      if v_lane <> v_series then
        select s.* into v_kept from work_series s where s.series = v_series;
        v_is_ordered := exists (select from work o where o.series = v_series and o.order_key is not null);
      end if;
      v_series_room := coalesce((p_rooms ->> v_series)::int, least(
        p_per_series, v_kept.most_running,
        case when v_kept.per_second is not null then greatest(1, v_kept.per_second / 10)::int end));
      if v_kept.paused_until > p_now then
        v_series_room := 0;
      elsif v_kept.most_running is not null or v_kept.per_second is not null then
        v_limited := v_limited || v_series;
        if v_kept.owner is null or v_kept.owner_until < now() then v_ownable := v_ownable || v_series; end if;
        if v_kept.owner is distinct from p_worker or v_kept.owner_until <= now() then v_series_room := 0; end if;
      end if;
      v_behind := p_behind ->> v_series;
      if v_behind >= v_lane then
        v_from := v_behind || chr(1);
        continue;
      end if;
    end if;
    if v_series_room <= 0 then
      -- `0` comes next to `/`.
      if v_lane <> v_series then v_from := v_series || '0'; end if;
      continue;
    end if;
    -- A tenant may be called `retry`.
    v_is_retried := v_lane like '%/%/retry';
    continue when v_is_retried and v_lane <= p_retries_behind;
    v_room := least(
      coalesce((p_rooms ->> v_lane)::int, p_per_lane), v_series_room, p_total - cardinality(v_rows),
      case when v_is_retried then v_retries end);
    continue when v_room <= 0;
    select null::timestamptz as until_run_at, null::bigint as until_place into v_seen;
    if v_is_ordered then
      select * into v_seen from set_aside(p_kind, v_lane, p_now, greatest(10, least(100, v_to_look_at)));
      v_to_look_at := v_to_look_at - v_seen.looked_at;
      v_stirred := v_stirred or v_seen.aside > 0;
    end if;
    v_picked := array(
      select w.ctid from work w
      where w.kind = p_kind and not w.dormant and w.lane = v_lane and not w.blocked
        and w.run_at between v_floor and p_now
        and (w.run_at, w.place) <= (
          coalesce(v_seen.until_run_at, 'infinity'), coalesce(v_seen.until_place, 9223372036854775807))
        and (w.lease_until is null or w.lease_until < now())
        and (w.attempts = 0 or v_retries > 0 or w.series is null)
        and (w.order_key is null or not exists (
          select from work o where o.series = w.series and o.order_key = w.order_key and o.place < w.place))
      order by w.run_at, w.place
      limit v_room
      for update skip locked);
    v_rows := v_rows || v_picked;
    v_series_room := v_series_room - cardinality(v_picked);
    if v_is_retried then v_retries := v_retries - cardinality(v_picked); end if;
  end loop;
  return query
  -- Rows that are locked stay in their place, where a later statement finds them.
  with picked as materialized (
    select w.ctid as place_of, w.series, w.number, w.run_at, w.place from work w where w.ctid = any (v_rows)
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
  first_numbers as materialized (
    select b.series, b.last_number - c.fresh as before from bumped b join counted c on c.series = b.series
  ),
  numbered as materialized (
    select p.place_of, coalesce(p.number, f.before + row_number() over (
      partition by p.series, p.number is null order by p.run_at, p.place)) as number
    from picked p left join first_numbers f on f.series = p.series
  ),
  claimed as (
    update work w
    set lease_until = now() + p_lease_seconds * interval '1 second', attempts = least(w.attempts + 1, 32767), token = p_token,
      number = n.number
    from numbered n where w.ctid = n.place_of
    returning w.id, w.lane, w.tenant_id, w.product_id, w.ref, w.run_at, w.attempts, w.series, w.number, w.place,
      w.order_key is not null as ordered
  ),
  limits as materialized (
    select s.series, s.most_running, s.per_second from work_series s where s.series = any (v_limited)
  )
  select c.id, c.lane, c.tenant_id, c.product_id, c.ref, c.run_at, c.attempts, c.series, c.number, c.ordered,
    l.most_running, l.per_second,
    coalesce(v_lane, ''), p_from = '' and v_lane is null and cardinality(v_rows) < p_total, v_stirred, v_ownable
  from (select) always left join claimed c on true left join limits l on l.series = c.series
  order by c.run_at, c.place;
end $$;

revoke execute on function claim_work from public;
grant execute on function claim_work to pipecore_system;
