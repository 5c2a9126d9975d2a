-- What became of a delivery is asked by its event.
create index dead_work_of_ref on dead_work (ref);
