import { readFileSync } from 'node:fs';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Db, SqlValue } from '@cardea/storage/db';
import { openQueryIndex } from '../src/index/query-index.ts';
import { openSigner } from '../src/sign/checkpoint.ts';
import { openLog } from '../src/append/log.ts';
import type { AuditStore, Submission } from '../src/append/log.ts';
import { toCanonicalEvent } from '../src/append/parse-append.ts';
import type { CanonicalEvent } from '../src/append/parse-append.ts';
import { openSigningKey } from '../src/sign/signing-key.ts';

export const vectors = JSON.parse(
  readFileSync(new URL('../../../packages/crypto/vectors/audit-log.json', import.meta.url), 'utf8'),
) as {
  seed: string;
  publicKey: string;
  origin: string;
  vkey: string;
  entries: { entry: string; chain: string; leaf: string }[];
  checkpoints: Record<string, string>;
};

export const vectorSubmissions: Submission[] = vectors.entries.map(({ entry }) => {
  const { event, peer } = JSON.parse(entry) as { event: AuditEvent; peer: string };
  return { event: toCanonicalEvent(event), peer };
});

/** The time of the vectors, in milliseconds since 1970. */
export const VECTORS_NOW = Date.parse('2026-11-22T06:27:31Z');

export const ORIGIN = 'cardea.test/audit';

export function anEvent(changes: Partial<AuditEvent> = {}): CanonicalEvent {
  return toCanonicalEvent({
    id: uuidv7(Date.now()),
    ts: '2026-11-22T06:27:28.123456Z',
    action: 'secret.read',
    decision: 'allow',
    actor: { id: 'alice-id', type: 'user', name: 'alice' },
    resource: { vault: 'payments', name: 'db/password', version: 3 },
    ...changes,
  });
}

export function someEvents(count: number): CanonicalEvent[] {
  return Array.from({ length: count }, () => anEvent());
}

/** The body as it is sent. */
export function appendBody(events: CanonicalEvent[]): Buffer {
  return Buffer.from(`{"batchId":"${uuidv7(Date.now())}","events":[${events.map((event) => event.text).join(',')}]}`);
}

export async function appendTo(log: AuditStore, events: CanonicalEvent[]) {
  return log.append(events.map((event) => ({ event, peer: 'api-service' })));
}

/** Opens the log, its key and its signer as a start of the service does. */
export async function startLog(db: Db, folder: string, { origin = ORIGIN, now = Date.now } = {}) {
  const { key, vkey } = await openSigningKey(db, folder, origin);
  const log = await openLog(db, { origin, publicKey: key.publicKey, now });
  const index = await openQueryIndex(db);
  const signer = await openSigner(db, { origin, key, vkey, folder, index, now });
  return { log, index, signer, key, vkey };
}

/** Runs SQL that the append-only triggers would refuse, as the owner of the database can. */
export async function withoutTriggers(db: Db, sql: string, params: SqlValue[] = []): Promise<void> {
  const tables = ['audit_entry', 'audit_tile', 'audit_head'];
  if (db.engine === 'postgres') for (const table of tables) await db.query(`alter table ${table} disable trigger all`);
  else {
    const triggers = await db.query<{ name: string }>("select name from sqlite_schema where type = 'trigger'");
    for (const { name } of triggers) await db.query(`drop trigger ${name}`);
  }
  await db.query(db.engine === 'sqlite' ? sql.replace('bytea', 'blob') : sql, params);
}
