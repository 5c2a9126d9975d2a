-- Logs whose rows are kept as long as each tenant wishes (keep_days: what is of no tenant), and the columns that may
-- go earlier.
alter table partitioned_tables
  add column follows_tenants boolean not null default false,
  add column raw_columns text[] not null default '{}';

-- When the rows of an old day were last brought to what the tenants wish.
create table settled_days (
  table_name text not null,
  day date not null,
  settled_at timestamptz not null,
  primary key (table_name, day)
);
alter table settled_days enable row level security;
alter table settled_days force row level security;
create policy owner_maintains on settled_days for all to current_user using (true) with check (true);
create policy owner_looks on jobs for select to current_user using (true);

-- Ids that open or dead work names: as what it is about, or in what its job was given.
-- `offset 0`: jobs are found one by one, or all of them would be read.
create function named_by_work(p_prefix text) returns setof text language sql stable as $$
  with open_work as (select kind, ref from work union all select kind, ref from dead_work)
  select ref from open_work where starts_with(ref, p_prefix || '_')
  union all
  select named[1]
  from (select ref from open_work where kind = 'job' offset 0) o
  cross join lateral (select payload from jobs where id = o.ref offset 0) job
  cross join lateral regexp_matches(job.payload, '"(' || p_prefix || '_[0-9a-z]+)"', 'g') named
$$;

-- SQL over a row `kept` of a log that follows tenants: $1 is today, $2 are the ids that work names. The day of a row is
-- given by what stands for it in the statement.
create function retention_terms(
  entry partitioned_tables, p_day text, out source text, out in_time text, out raw_in_time text, out has_raw text
) language sql stable as $$
  select
    format('%I kept left join tenant_retention() wish on wish.tenant_id = kept.tenant_id', entry.table_name),
    format('(kept.id = any ($2) or %s >= $1 - coalesce(wish.retention_days, %s))', p_day, entry.keep_days),
    format('(kept.id = any ($2) or %s >= $1 - coalesce(wish.raw_retention_days, %s))', p_day, entry.keep_days),
    case when entry.raw_columns = '{}' then 'false'
      else (select format('num_nonnulls(%s) > 0', string_agg(format('kept.%I', name), ', ')) from unnest(entry.raw_columns) name)
    end
$$;

-- Asked before a day is copied in vain: the lock that was taken goes with the block that is given up.
create function try_lock(p_table text) returns void language plpgsql as $$
begin
  execute format('lock table %I in access exclusive mode', p_table);
  raise sqlstate 'PC001';
exception when sqlstate 'PC001' then
  null;
end $$;

-- Copies the rows of a day that are kept, and puts the copy into the place of the day. Readers go on meanwhile, but for
-- the last moment.
create function rebuild_day(entry partitioned_tables, p_day date, p_named text[]) returns void language plpgsql as $$
declare
  part text := entry.table_name || '_' || to_char(p_day, 'YYYYMMDD');
  fresh text := part || '_next';
  first_id text := id_bound(entry.id_prefix, p_day::timestamp at time zone 'UTC');
  end_id text := id_bound(entry.id_prefix, (p_day + 1)::timestamp at time zone 'UTC');
  terms record;
  columns text;
  contents text;
begin
  select * into terms from retention_terms(entry, '$3::date');
  select string_agg(format('%I', attname), ', ' order by attnum),
    string_agg(
      case when attname = any (entry.raw_columns) then format('case when %s then kept.%I end', terms.raw_in_time, attname)
        else format('kept.%I', attname) end,
      ', ' order by attnum)
  into columns, contents
  from pg_attribute where attrelid = quote_ident(entry.table_name)::regclass and attnum > 0 and not attisdropped;
  execute format('create table %I (like %I including all)', fresh, entry.table_name);
  execute format(
    'insert into %I (%s) select %s from %s where kept.id >= %L and kept.id < %L and %s',
    fresh, columns, contents, terms.source, first_id, end_id, terms.in_time) using current_date, p_named, p_day;
  execute format('alter table %I enable row level security', fresh);
  execute format('alter table %I force row level security', fresh);
  -- With what it is to hold proved beforehand, attaching reads nothing.
  execute format('alter table %I add constraint its_day check (id >= %L and id < %L)', fresh, first_id, end_id);
  execute format('lock table %I in access exclusive mode', entry.table_name);
  execute format('alter table %I detach partition %I', entry.table_name, part);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', entry.table_name, fresh, first_id, end_id);
  execute format('alter table %I drop constraint its_day', fresh);
  execute format('drop table %I', part);
  execute format('alter table %I rename to %I', fresh, part);
end $$;

-- Brings the rows of a day to what their tenants wish. Nothing is done where nothing has to go.
create function settle_day(p_table text, p_day date) returns text
language plpgsql security definer
set search_path = pipecore, pg_temp set lock_timeout = '1s' set timezone = 'UTC'
as $$
declare
  entry partitioned_tables;
  part text := p_table || '_' || to_char(p_day, 'YYYYMMDD');
  named text[];
  terms record;
  found_rows record;
  action text;
begin
  select * into entry from partitioned_tables where table_name = p_table and follows_tenants;
  if entry.table_name is null or to_regclass(quote_ident(part)) is null then return null; end if;
  if not pg_try_advisory_xact_lock(715003) then return 'postponed'; end if;
  -- What is written to the day meanwhile would be missing in the copy.
  execute format('lock table %I in share mode', part);
  named := array(
    select id from named_by_work(entry.id_prefix) id
    where id >= id_bound(entry.id_prefix, p_day::timestamp) and id < id_bound(entry.id_prefix, (p_day + 1)::timestamp));
  select * into terms from retention_terms(entry, '$3::date');
  execute format(
    'select count(*) as rows, count(*) filter (where %2$s) as kept,'
    ' count(*) filter (where %2$s and %4$s and not %3$s) as to_blank,'
    ' count(*) filter (where kept.id = any ($2) and $3::date < $1 - coalesce(wish.raw_retention_days, %7$s)) as waiting'
    ' from %1$s where kept.id >= %5$L and kept.id < %6$L',
    terms.source, terms.in_time, terms.raw_in_time, terms.has_raw, id_bound(entry.id_prefix, p_day::timestamp),
    id_bound(entry.id_prefix, (p_day + 1)::timestamp), entry.keep_days)
  into found_rows using current_date, named, p_day;
  if found_rows.kept = 0 then
    if p_day >= current_date - 7 then return null; end if;
    execute format('drop table %I', part);
    delete from settled_days where table_name = p_table and day = p_day;
    return 'dropped';
  end if;
  if found_rows.kept < found_rows.rows or found_rows.to_blank > 0 then
    perform try_lock(p_table);
    perform rebuild_day(entry, p_day, named);
    action := 'rebuilt';
  end if;
  -- What work still needs is looked at again.
  if found_rows.waiting > 0 then return coalesce(action, 'kept'); end if;
  insert into settled_days values (p_table, p_day, now())
  on conflict (table_name, day) do update set settled_at = excluded.settled_at;
  return action;
exception when lock_not_available or deadlock_detected then
  return 'postponed';
end $$;

-- Days that came past one of the bounds since they were settled, or of before a tenant's wish changed.
create function list_unsettled_days() returns table (table_name text, day text)
language sql stable security definer set search_path = pipecore, pg_temp set timezone = 'UTC'
as $$
  select entry.table_name, part.day::text
  from partitioned_tables entry
  join pg_inherits i on i.inhparent = to_regclass(quote_ident(entry.table_name))
  join pg_class c on c.oid = i.inhrelid
  cross join lateral (
    select case when c.relname ~ ('^' || entry.table_name || '_\d{8}$') then to_date(right(c.relname, 8), 'YYYYMMDD') end as day
  ) part
  left join settled_days s on s.table_name = entry.table_name and s.day = part.day
  where entry.follows_tenants and part.day < current_date - 7 and (
    s.settled_at is null
    or exists (
      select from unnest(array[7, 30, 90, 365, entry.keep_days]) as bound
      where part.day < current_date - bound and part.day >= s.settled_at::date - bound)
    -- A change may have been under way when the day was settled.
    or exists (select from tenant_retention() where changed_at > s.settled_at - interval '1 hour'))
  order by part.day, entry.table_name
$$;

-- Rows of days that never got a partition of their own age as well.
drop function empty_default_partition;
create function empty_default_partition(entry partitioned_tables) returns void language plpgsql as $$
declare
  fallback text := entry.table_name || '_default';
  named text[];
  is_empty boolean;
  terms record;
  today date := (now() at time zone 'UTC')::date;
begin
  execute format('select not exists (select from %I)', fallback) into is_empty;
  if is_empty then return; end if;
  named := array(select named_by_work(entry.id_prefix));
  if not entry.follows_tenants then
    execute format('delete from %I where id < %L and id <> all ($1)', fallback,
      id_bound(entry.id_prefix, (today - entry.keep_days)::timestamp at time zone 'UTC')) using named;
    return;
  end if;
  entry.table_name := fallback;
  select * into terms from retention_terms(entry, 'day_of_id(kept.id)');
  execute format('delete from %1$I where id in (select kept.id from %2$s where not %3$s)', fallback, terms.source, terms.in_time)
    using today, named;
  if entry.raw_columns = '{}' then return; end if;
  execute format(
    'update %1$I set %2$s where id in (select kept.id from %3$s where %4$s and not %5$s)',
    fallback, (select string_agg(format('%I = null', name), ', ') from unnest(entry.raw_columns) name), terms.source, terms.has_raw, terms.raw_in_time) using today, named;
end $$;

-- The day of the moment that an id begins with.
create function day_of_id(p_id text) returns date language sql immutable strict parallel safe as $$
  select (to_timestamp(sum((strpos('0123456789abcdefghjkmnpqrstvwxyz', digit) - 1) * (32 ^ (10 - place))) / 1000)
    at time zone 'UTC')::date
  from string_to_table(substr(p_id, strpos(p_id, '_') + 1, 10), null) with ordinality as given (digit, place)
$$;

-- As before, but old days of logs that follow tenants are left to settle_day().
create or replace function maintain_partitions() returns table (action text, partition_name text)
language plpgsql security definer
set search_path = pipecore, pg_temp set lock_timeout = '1s'
as $$
declare
  today date := (now() at time zone 'UTC')::date;
  entry partitioned_tables;
  day date;
begin
  perform pg_advisory_xact_lock(715003);
  for entry in select * from partitioned_tables order by table_name loop
    perform make_default_partition(entry.table_name);
    perform empty_default_partition(entry);
    for day in
      select d::date from generate_series(today - 1, today + 7, interval '1 day') d
      union
      select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = to_regclass(quote_ident(entry.table_name))
        and c.relname ~ ('^' || entry.table_name || '_\d{8}$')
        and to_date(right(c.relname, 8), 'YYYYMMDD') < today - entry.keep_days
        and not entry.follows_tenants
      order by 1
    loop
      partition_name := entry.table_name || '_' || to_char(day, 'YYYYMMDD');
      action := case
        when day < today - entry.keep_days then
          case when is_day_needed(entry.id_prefix, day) then 'kept' else 'dropped' end
        when to_regclass(quote_ident(partition_name)) is null then 'made'
      end;
      begin
        if action = 'made' then perform make_day_partition(entry.table_name, entry.id_prefix, day); end if;
        if action = 'dropped' then execute format('drop table %I', partition_name); end if;
      exception when lock_not_available then
        action := 'postponed';
      end;
      if action is not null then return next; end if;
    end loop;
  end loop;
end $$;

revoke execute on function
  named_by_work, retention_terms, try_lock, rebuild_day, settle_day, list_unsettled_days, empty_default_partition,
  day_of_id from public;
grant execute on function settle_day, list_unsettled_days to pipecore_system;
