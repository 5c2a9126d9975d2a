import type pg from 'pg'

/** From now on no statement may delete more rows of this table than one has time for. */
export async function boundDeletes(owner: pg.Client, table: string): Promise<void> {
  await owner.query(`
    create function bound_deletes_of_${table}() returns trigger language plpgsql as $$ begin
      if (select count(*) from gone) > 5000 then raise exception 'too many rows in one statement'; end if;
      return null;
    end $$;
    create trigger bound_deletes after delete on ${table} referencing old table as gone
      for each statement execute function bound_deletes_of_${table}()`)
}
