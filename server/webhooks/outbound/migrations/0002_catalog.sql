-- Types of a product's own events, one row per version: what a publish is checked against.
create table event_types (
  product_id text not null collate "C" references products (id),
  name text not null collate "C",
  version integer not null check (version > 0),
  description text not null,
  schema text not null,
  created_at timestamptz not null,
  primary key (product_id, name, version)
);
alter table event_types enable row level security;
alter table event_types force row level security;
create policy own_products_types on event_types for select to pipecore_app using (
  product_id = (select nullif(current_setting('app.product_id', true), '')));
create policy every_type on event_types for all to pipecore_system using (true) with check (true);
grant select on event_types to pipecore_app;
grant select, insert, update, delete on event_types to pipecore_system;
