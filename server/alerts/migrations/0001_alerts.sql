-- What a tenant changed of the rules there are by default, and rules of its own.
create table alert_rules (
  tenant_id text not null collate "C" references tenants (id),
  name text not null collate "C",
  settings text not null,
  updated_at timestamptz not null,
  primary key (tenant_id, name)
);
select protect_table('alert_rules', 'select, insert, update, delete', 'select');

create table alert_contacts (
  tenant_id text primary key collate "C" references tenants (id),
  contacts text not null,
  updated_at timestamptz not null
);
select protect_table('alert_contacts', 'select, insert, update', 'select');

create table alert_incidents (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  product_id text not null collate "C",
  rule text not null collate "C",
  kind text not null check (kind in ('provider_failing', 'endpoint_failing', 'backlog', 'silence')),
  -- What it is about: a connection, an endpoint, a type of event.
  subject text not null collate "C",
  details text not null,
  opened_at timestamptz not null,
  -- Evaluations in a row that found it mended, and when the last was counted.
  healthy smallint not null default 0,
  counted_at timestamptz not null,
  resolved_at timestamptz
);
-- One thing that is wrong is one incident, however many processes see it.
create unique index alert_incidents_open on alert_incidents (tenant_id, rule, subject) where resolved_at is null;
create index alert_incidents_of_tenant on alert_incidents (tenant_id, id);
select protect_table('alert_incidents', 'select', 'select, insert, update, delete');

-- Who was told of which incident, or why not.
create table alert_notices (
  tenant_id text not null collate "C",
  incident_id text not null collate "C" references alert_incidents (id) on delete cascade,
  phase text not null check (phase in ('raised', 'resolved')),
  channel text not null,
  address text not null,
  message_id text collate "C",
  problem text,
  told_at timestamptz not null,
  primary key (incident_id, phase, channel, address)
);
select protect_table('alert_notices', 'select, insert', 'select, delete');
