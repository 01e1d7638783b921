import { sha256Hex } from '@cardea/crypto/ids';
import type { TestSystem } from '@cardea/testkit/system';
import { query } from './ground.ts';

const tables = ['secret', 'secret_version', 'secret_word', 'secret_label', 'secret_reference', 'break_glass', 'event'];

/** All rows of secrets, and of what hangs on them, but for who read them last; by table, a digest. */
export async function digests(system: TestSystem): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const table of tables) {
    const rows = await query<Record<string, unknown>>(system, `select * from ${table}`);
    // In an order of their own, for a row that is updated may move.
    const texts = rows.map((row) => JSON.stringify({ ...row, last_read_at: 0, last_read_by: 0 })).toSorted();
    found[table] = `${texts.length} rows, ${sha256Hex(texts.join('\n'))}`;
  }
  return found;
}

/** Adds secrets to a vault, faster than by the front door: `<prefix>/1000` and so on, without a value. */
export async function addMany(
  system: TestSystem,
  { vault, prefix, count }: { vault: string; prefix: string; count: number },
): Promise<void> {
  await query(
    system,
    `with recursive n (i) as (select 1000 union all select i + 1 from n where i + 1 < 1000 + $3)
     insert into secret (id, vault_id, name, current_version, metadata, trashed_through, live,
                         created_at, created_by, updated_at)
     select v.id || $2 || cast(n.i as text), v.id, $2 || '/' || cast(n.i as text), 1, '{}', 0, 1, 1, 'service:test', 1
       from n
       join vault v on v.name = $1`,
    [vault, prefix, count],
  );
}
