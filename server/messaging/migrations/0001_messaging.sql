create table messages (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  direction text not null check (direction in ('out', 'in')),
  channel text not null,
  provider text not null,
  connection_id text not null collate "C",
  to_address text not null,
  from_address text not null,
  -- The recipient as the provider writes it when that differs, such as a WhatsApp wa_id.
  recipient text,
  status text not null,
  detail text,
  error text,
  template text,
  reference text,
  tags text[] not null default '{}',
  auto_reply text,
  provider_message_id text,
  cost_amount numeric,
  cost_currency text,
  trace_id text not null,
  send_at timestamptz,
  created_at timestamptz not null,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  failed_at timestamptz
) with (fillfactor = 80);
create unique index messages_of_tenant on messages (tenant_id, id);
create index messages_by_provider_id on messages (tenant_id, provider, provider_message_id) where provider_message_id is not null;
create index messages_age on messages (created_at);
create index messages_by_address on messages (tenant_id, to_address, id);
create index messages_by_reference on messages (tenant_id, reference) where reference is not null;
select protect_table('messages', 'select, insert, update', 'select, delete');

-- What messages say, apart from what is looked at all the time: a mail may carry megabytes.
create table message_contents (
  tenant_id text not null collate "C",
  message_id text not null collate "C",
  content text not null,
  primary key (tenant_id, message_id),
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
select protect_table('message_contents', 'select, insert', 'select, update, delete');

-- One row per call to a provider, written before the call: a row without an outcome is a call whose end nobody saw.
create table message_attempts (
  id text primary key collate "C",
  tenant_id text not null collate "C",
  message_id text not null collate "C",
  attempt smallint not null,
  connection_id text not null collate "C",
  provider text not null,
  outcome text check (outcome in ('done', 'refused', 'unknown')),
  error text,
  answer_status smallint,
  answer text,
  provider_message_id text,
  started_at timestamptz not null,
  duration_ms integer,
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index message_attempts_of_message on message_attempts (tenant_id, message_id, id);
select protect_table('message_attempts', 'select, insert, update', 'select, delete');

-- Append-only: everything a provider ever reported about a message, also what came late or twice removed.
create table message_reports (
  id text primary key collate "C",
  tenant_id text not null collate "C",
  message_id text not null collate "C",
  status text not null,
  detail text,
  applied boolean not null,
  webhook_id text collate "C",
  reported_at timestamptz not null,
  received_at timestamptz not null,
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index message_reports_of_message on message_reports (tenant_id, message_id, id);
select protect_table('message_reports', 'select, insert', 'select, delete');

-- Until when a customer may be written to freely: 24 hours from their last message to this sender.
create table whatsapp_windows (
  tenant_id text not null collate "C",
  sender text not null,
  contact text not null,
  last_inbound_at timestamptz not null,
  primary key (tenant_id, sender, contact)
);
select protect_table('whatsapp_windows', 'select, insert, update', 'select');

create table suppressions (
  id text not null unique collate "C",
  tenant_id text not null collate "C" references tenants (id),
  channel text not null,
  address text not null,
  reason text not null,
  provider text,
  message_id text collate "C",
  created_at timestamptz not null,
  primary key (tenant_id, channel, address)
);
select protect_table('suppressions', 'select, insert, update, delete', 'select');

create table message_templates (
  tenant_id text not null collate "C" references tenants (id),
  name text not null collate "C",
  locale text not null collate "C",
  subject text,
  text_body text,
  html_body text,
  variables text[] not null,
  provider_references text not null,
  is_default boolean not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null,
  primary key (tenant_id, name, locale)
);
select protect_table('message_templates', 'select, insert, update, delete', 'select');

create table auto_replies (
  tenant_id text not null collate "C" references tenants (id),
  name text not null collate "C",
  channel text not null,
  keywords text[] not null,
  template text,
  body text,
  hours text,
  max_per_hour smallint not null,
  priority smallint not null,
  active boolean not null,
  updated_at timestamptz not null,
  primary key (tenant_id, name)
);
select protect_table('auto_replies', 'select, insert, update, delete', 'select');
