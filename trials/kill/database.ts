import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Hex } from '@cardea/crypto/ids';
import Database from 'better-sqlite3';
import { Violation } from './ledger.ts';

/** One version as it is stored in the database file. */
export interface StoredVersion {
  vaultId: string;
  /** `<vault>/secrets/<name>` */
  path: string;
  name: string;
  currentVersion: number;
  version: number;
  ciphertextSha256: string;
}

/** The content of api-service's database. It is read while the service runs, on a connection that cannot write. */
export interface StoredState {
  versions: StoredVersion[];
  vaultIds: string[];
}

export function readStored(dataDir: string): StoredState {
  using database = open(dataDir);
  const versions = database
    .prepare<[], Omit<StoredVersion, 'path' | 'ciphertextSha256'> & { vault: string; ciphertext: Buffer }>(
      `select v.id as vaultId, v.name as vault, s.name, s.current_version as currentVersion, sv.version, sv.ciphertext
         from secret s
         join vault v on v.id = s.vault_id
         join secret_version sv on sv.secret_id = s.id
        order by v.id, s.name, sv.version`,
    )
    .all()
    .map(({ ciphertext, vault, ...row }) => ({
      ...row,
      path: `${vault}/secrets/${row.name}`,
      ciphertextSha256: sha256Hex(ciphertext),
    }));
  const vaultIds = database.prepare<[], { id: string }>('select id from vault').all();
  return { versions, vaultIds: vaultIds.map((row) => row.id) };
}

/** Resolves when every event is in the audit log. @throws Violation after `withinMs` */
export async function untilOutboxIsEmpty(dataDir: string, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (performance.now() < deadline) {
    if (countOutbox(dataDir) === 0) return;
    await sleep(100);
  }
  throw new Violation(`${countOutbox(dataDir)} events are still in the outbox after ${withinMs} ms`);
}

function countOutbox(dataDir: string): number {
  using database = open(dataDir);
  return database.prepare<[], { events: number }>('select count(*) as events from outbox').get()?.events ?? 0;
}

function open(dataDir: string) {
  const database = new Database(join(dataDir, 'api', 'cardea.db'), { readonly: true, fileMustExist: true });
  return Object.assign(database, { [Symbol.dispose]: () => void database.close() });
}
