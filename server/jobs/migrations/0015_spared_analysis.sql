-- A day of a log grows from nothing, and autovacuum analyzed it anew with each tenth more: half a second each time, a
-- quarter of what storing its events took. Half more is often enough, of columns that anybody looks for. What the
-- columns of a day are worth is taken from its log: only that is altered.
create function spare_analysis(p_table text, p_part text) returns void language plpgsql as $$
declare
  unread text;
begin
  execute format('alter table %I set (autovacuum_analyze_scale_factor = 0.5)', p_part);
  for unread in
    select attname from pg_attribute
    where attrelid = quote_ident(p_table)::regclass and attnum > 0 and not attisdropped and attstattarget = 0
  loop
    execute format('alter table %I alter column %I set statistics 0', p_part, unread);
  end loop;
end $$;
revoke execute on function spare_analysis from public;

-- As before, but for `spare_analysis`.
create or replace function make_day_partition(p_table text, p_prefix text, p_day date) returns void language plpgsql as $$
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
  perform spare_analysis(p_table, part);
  execute format('alter table %I enable row level security', part);
  execute format('alter table %I force row level security', part);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', p_table, part, first_id, end_id);
end $$;

-- As before, but for `spare_analysis`.
create or replace function rebuild_day(entry partitioned_tables, p_day date, p_named text[]) returns void language plpgsql as $$
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
  perform spare_analysis(entry.table_name, fresh);
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

select spare_analysis(log.table_name, day.relname)
from partitioned_tables log
join pg_inherits part on part.inhparent = quote_ident(log.table_name)::regclass
join pg_class day on day.oid = part.inhrelid;

alter table jobs alter column payload set statistics 0;
alter table job_attempts alter column error set statistics 0;
