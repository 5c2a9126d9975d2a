-- What came as bytes may go before the record that it came.
alter table inbound_webhooks
  alter column target drop not null, alter column headers drop not null, alter column body drop not null;
-- The owner copies the days that he makes anew.
create policy owner_looks on inbound_webhooks for select to current_user using (true);
update partitioned_tables set follows_tenants = true, raw_columns = '{target,headers,body,sealed_request}'
where table_name = 'inbound_webhooks';
