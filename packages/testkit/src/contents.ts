import type { TestSystem } from './system.ts';

/**
 * All rows of some tables, each as text. They are sorted, because an updated row may move. The last readers are left
 * out, because api-service stores them later. What it has counted of the uses of keys is stored first.
 */
export async function contentsOf(system: TestSystem, tables: readonly string[]): Promise<Record<string, string[]>> {
  const contents: Record<string, string[]> = {};
  await system.vault.keyUses.flush();
  const db = system.openDatabase();
  try {
    for (const table of tables) {
      const rows = await db.query<Record<string, unknown>>(`select * from ${table}`);
      contents[table] = rows.map(toText).toSorted();
    }
    return contents;
  } finally {
    await db.close();
  }
}

function toText(row: Record<string, unknown>): string {
  return Object.entries(row)
    .filter(([column]) => !column.startsWith('last_read'))
    .map(([column, value]) => `${column}=${ArrayBuffer.isView(value) ? toBase64(value) : String(value)}`)
    .join(' ');
}

function toBase64({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}
