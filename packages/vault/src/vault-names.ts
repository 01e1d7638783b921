import type { Db, Queryable } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';

/** The names of vaults by their ids. A vault that does not exist has none. */
export async function findVaultNames(db: Queryable, engine: Db['engine'], ids: string[]): Promise<Map<string, string>> {
  const rows = await db.query<{ id: string; name: string }>(
    `select id, name
       from vault
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [JSON.stringify(ids.map((id) => [id]))],
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}
