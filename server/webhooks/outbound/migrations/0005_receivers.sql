-- Up to which number a receiver has acknowledged what its endpoint's feed gave it.
create table endpoint_feeds (
  endpoint_id text primary key collate "C" references endpoints (id),
  acknowledged_through bigint not null,
  acknowledged_at timestamptz not null
);
alter table endpoint_feeds enable row level security;
alter table endpoint_feeds force row level security;
create policy every_feed on endpoint_feeds for all to pipecore_system using (true) with check (true);
grant select, insert, update on endpoint_feeds to pipecore_system;

-- What was taken from the feed ends with a row of its own, without a call.
alter table delivery_attempts drop constraint delivery_attempts_outcome_check;
alter table delivery_attempts add constraint delivery_attempts_outcome_check
  check (outcome in ('delivered', 'retry', 'throttled', 'dead', 'acknowledged'));

-- Of an endpoint that signs with ed25519, to be published; the private keys are its sealed secrets.
alter table endpoints add column public_key text, add column previous_public_key text;
