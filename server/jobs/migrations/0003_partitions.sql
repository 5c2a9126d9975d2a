-- Tables of the whole house that are partitioned by the day of their time-ordered id. A module adds a row in its
-- migration and calls maintain_partitions().
create table partitioned_tables (
  table_name text primary key,
  id_prefix text not null,
  keep_days int not null check (keep_days > 0)
);
alter table partitioned_tables enable row level security;
alter table partitioned_tables force row level security;
create policy every_table on partitioned_tables for select to pipecore_system using (true);
grant select on partitioned_tables to pipecore_system;

-- maintain_partitions() runs as the owner, who is under the policies as well unless he is a superuser.
create policy owner_maintains on partitioned_tables for all to current_user using (true) with check (true);
create policy owner_looks on work for select to current_user using (true);
create policy owner_looks on dead_work for select to current_user using (true);

-- The default partition takes rows of days that have none, so that nothing is refused.
create function make_default_partition(p_table text) returns void language plpgsql as $$
declare
  fallback text := p_table || '_default';
begin
  if to_regclass(quote_ident(fallback)) is not null then return; end if;
  execute format('create table %I partition of %I default', fallback, p_table);
  execute format('alter table %I enable row level security', fallback);
  execute format('alter table %I force row level security', fallback);
  execute format('create policy owner_moves on %I for all to current_user using (true) with check (true)', fallback);
end $$;

-- Attaching locks the table less than `create … partition of` does. Rows that were waiting in the default
-- partition move along.
create function make_day_partition(p_table text, p_prefix text, p_day date) returns void language plpgsql as $$
declare
  part text := p_table || '_' || to_char(p_day, 'YYYYMMDD');
  fallback text := p_table || '_default';
  first_id text := id_bound(p_prefix, p_day::timestamp at time zone 'UTC');
  end_id text := id_bound(p_prefix, (p_day + 1)::timestamp at time zone 'UTC');
begin
  execute format('lock table %I in access exclusive mode', fallback);
  execute format('create table %I (like %I including all)', part, p_table);
  execute format(
    'with moved as (delete from %I where id >= %L and id < %L returning *) insert into %I select * from moved',
    fallback, first_id, end_id, part);
  execute format('alter table %I enable row level security', part);
  execute format('alter table %I force row level security', part);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', p_table, part, first_id, end_id);
end $$;

-- A day stays as long as open or dead work refers to one of its rows.
create function is_day_needed(p_prefix text, p_day date) returns boolean language sql as $$
  select exists (
    select from (select ref from work union all select ref from dead_work) open_work
    where ref >= id_bound(p_prefix, p_day::timestamp at time zone 'UTC')
      and ref < id_bound(p_prefix, (p_day + 1)::timestamp at time zone 'UTC'))
$$;

-- Rows of days that never got a partition of their own age as well.
create function empty_default_partition(p_table text, p_before_id text) returns void language plpgsql as $$
begin
  execute format(
    'delete from %I old where id < %L and not exists ('
    'select from work where ref = old.id union all select from dead_work where ref = old.id)',
    p_table || '_default', p_before_id);
end $$;

create function maintain_partitions() returns table (action text, partition_name text)
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
    perform empty_default_partition(
      entry.table_name, id_bound(entry.id_prefix, (today - entry.keep_days)::timestamp at time zone 'UTC'));
    for day in
      select d::date from generate_series(today - 1, today + 7, interval '1 day') d
      union
      select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = to_regclass(quote_ident(entry.table_name))
        and c.relname ~ ('^' || entry.table_name || '_\d{8}$')
        and to_date(right(c.relname, 8), 'YYYYMMDD') < today - entry.keep_days
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
  make_default_partition, make_day_partition, is_day_needed, empty_default_partition, maintain_partitions from public;
grant execute on function maintain_partitions to pipecore_system;

insert into partitioned_tables values ('jobs', 'job', 30), ('job_attempts', 'att', 14);
select maintain_partitions();
