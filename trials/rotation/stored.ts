import { setTimeout as sleep } from 'node:timers/promises';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { Db } from '@cardea/storage/db';
import { SYSTEM_VAULT_ID } from '@cardea/vault/deks/dek-store';
import { SECOND_MS } from '@cardea/contracts/durations';
import { Violation } from '../kill/ledger.ts';

const OUTBOX_EMPTY_WITHIN_MS = 60 * SECOND_MS;

/** A DEK as it is stored. `wrapped` is null once it is destroyed. */
export interface StoredDek extends DekRef {
  state: 'active' | 'retiring' | 'destroyed';
  wrapped: Uint8Array | null;
  kekVersion: number;
}

/** The stored state of the keys, after everything has been rotated. */
export interface StoredKeys {
  deks: StoredDek[];
  vaultIds: Set<string>;
  /** How many stored values the check has seen. */
  rows: number;
}

/** Resolves when every event is in the audit log. @throws Violation after a minute */
export async function untilOutboxIsEmpty(db: Db): Promise<void> {
  const deadline = performance.now() + OUTBOX_EMPTY_WITHIN_MS;
  for (;;) {
    const [row] = await db.query<{ n: number }>('select count(*) as n from outbox');
    if (row!.n === 0) return;
    if (performance.now() > deadline) throw new Violation(`${row!.n} events are still in the outbox`);
    await sleep(100);
  }
}

interface DekRow extends Pick<StoredDek, 'state' | 'wrapped'> {
  vault_id: string;
  version: number;
  kek_version: number;
}

/** Every DEK that was ever made, of all vaults that exist and of the system, by vault and version. */
export async function listDeks(db: Db): Promise<StoredDek[]> {
  const rows = await db.query<DekRow>(
    `select vault_id, version, state, wrapped, kek_version
       from dek
      order by vault_id, version`,
  );
  return rows.map(({ vault_id: vaultId, version: dekVersion, kek_version: kekVersion, state, wrapped }) => ({
    vaultId,
    dekVersion,
    kekVersion,
    state,
    wrapped,
  }));
}

/**
 * Checks what must hold after all DEKs and the KEK were rotated without a disturbance: each vault has one DEK that is
 * not destroyed, its newest, under the newest KEK; every sealed value is under that one; no DEK has outlived its vault.
 * @throws Violation that names the first difference
 */
export async function checkKeys(db: Db, newestKek: number): Promise<StoredKeys> {
  const vaults = await db.query<{ id: string }>('select id from vault');
  const vaultIds = new Set(vaults.map(({ id }) => id));
  const deks = await listDeks(db);
  const newest = new Map<string, number>();
  for (const [vaultId, chain] of Map.groupBy(deks, (dek) => dek.vaultId)) {
    if (!vaultIds.has(vaultId) && vaultId !== SYSTEM_VAULT_ID)
      throw new Violation(`vault ${vaultId} is gone, its DEKs are not`);
    checkChain(vaultId, chain, newestKek);
    newest.set(vaultId, chain.length);
  }
  for (const id of vaultIds) if (!newest.has(id)) throw new Violation(`the vault ${id} has no DEK`);
  const unopened = await db.query('select kind, vault_id, id, version, reason from unopened_row');
  if (unopened.length > 0) throw new Violation(`rows do not open: ${JSON.stringify(unopened.slice(0, 3))}`);
  return { deks, vaultIds, rows: await checkRows(db, newest) };
}

function checkChain(vaultId: string, chain: StoredDek[], newestKek: number): void {
  for (const [index, { dekVersion, state, wrapped, kekVersion }] of chain.entries()) {
    const what = `DEK ${dekVersion} of vault ${vaultId}`;
    if (dekVersion !== index + 1) throw new Violation(`${what} follows DEK ${index}`);
    const expected = dekVersion === chain.length ? 'active' : 'destroyed';
    if (state !== expected) throw new Violation(`${what} is ${state}, not ${expected}`);
    if ((wrapped === null) !== (state === 'destroyed'))
      throw new Violation(`${what} is ${state} and has wrapped bytes`);
    if (wrapped !== null && kekVersion !== newestKek) throw new Violation(`${what} is under KEK ${kekVersion}`);
  }
}

/** Checks every table that has sealed values. Returns how many values there are. */
async function checkRows(db: Db, newest: ReadonlyMap<string, number>): Promise<number> {
  let rows = 0;
  for (const { table, column, vault } of await listSealedTables(db)) {
    const counted = await db.query<{ vault_id: string; version: number; n: number }>(
      `select ${vault} as vault_id, ${column} as version, count(*) as n
         from ${table}
        where ${column} is not null
          and ${vault} not in (select id from deleted_vault)
        group by 1, 2`,
    );
    for (const { vault_id: vaultId, version, n } of counted) {
      rows += n;
      if (version === newest.get(vaultId)) continue;
      throw new Violation(`${table} has ${n} values of vault ${vaultId} under DEK ${version}`);
    }
  }
  return rows;
}

/** A table with sealed values: its column with the version of the DEK, and the column or the id of the vault. */
interface SealedTable {
  table: string;
  column: string;
  vault: string;
}

/** Finds the tables by the names of their columns, so that a feature that seals something new is checked too. */
async function listSealedTables(db: Db): Promise<SealedTable[]> {
  const columns = await db.query<{ table: string; column: string }>(COLUMNS[db.engine]);
  const tables = Map.groupBy(columns, ({ table }) => table);
  tables.delete('dek');
  tables.delete('unopened_row');
  return [...tables].flatMap(([table, found]) => {
    const vault = found.some(({ column }) => column === 'vault_id') ? 'vault_id' : `'${SYSTEM_VAULT_ID}'`;
    return found.filter(({ column }) => column.endsWith('dek_version')).map(({ column }) => ({ table, column, vault }));
  });
}

const COLUMNS: Record<Db['engine'], string> = {
  sqlite: `select t.name as "table", c.name as "column"
             from sqlite_schema t
             join pragma_table_info(t.name) c
            where t.type = 'table'`,
  postgres: `select table_name as "table", column_name as "column"
               from information_schema.columns
              where table_schema = 'public'`,
};
