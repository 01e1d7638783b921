import type { Db } from '@cardea/storage/db';
import { untilOutboxIsEmpty } from '../rotation/stored.ts';
import { exportAuditLog } from './audit-export.ts';
import type { LoggedEntry } from './audit-export.ts';
import type { Client } from './client.ts';
import { readStored } from './database.ts';
import type { StoredState, StoredVersion } from './database.ts';
import { Violation } from './ledger.ts';
import type { Ledger } from './ledger.ts';

export interface Checked {
  entries: number;
  versions: number;
  secrets: number;
}

/**
 * Compares every answer of the trial with the stored state and the audit log. No other request may be under way.
 * @throws Violation that names the first difference
 */
export async function checkEverything(trial: {
  /** The database of api-service. */
  db: Db;
  dataDir: string;
  ledger: Ledger;
  client: Client;
  clients: Client[];
  folder: string;
  held: string[];
  /** True if keys were rotated, so that a ciphertext is not the one that was recorded when it was written. */
  isResealed?: boolean;
}): Promise<Checked> {
  const { db, ledger, client, clients, isResealed = false } = trial;

  await untilOutboxIsEmpty(db);
  const stored = await readStored(db);
  checkVersions(ledger, stored.versions);
  await readEverything(ledger, clients, stored.versions);
  const answered = ledger.answers.length;
  const entries = await exportAuditLog(client, trial);
  checkAnswers(ledger.answers.slice(0, answered), entries);
  checkRecords(stored, entries, isResealed);
  return { entries: entries.length, versions: stored.versions.length, secrets: ledger.secrets().length };
}

/** Checks that versions run from 1 to the current one without a gap, and that every acknowledged version is stored. */
function checkVersions(ledger: Ledger, versions: StoredVersion[]): void {
  const byPath = Map.groupBy(versions, (row) => row.path);
  for (const secret of ledger.secrets()) {
    const rows = byPath.get(secret.path) ?? [];
    byPath.delete(secret.path);
    const current = rows[0]?.currentVersion ?? 0;
    if (rows.length !== current || rows.some((row, index) => row.version !== index + 1)) {
      const stored = rows.map((row) => row.version).join();
      throw new Violation(`${secret.path}: the versions ${stored} are stored, and the current one is ${current}`);
    }
    if (current < secret.newest) {
      throw new Violation(`${secret.path}: version ${secret.newest} was acknowledged, but the newest is ${current}`);
    }
  }
  for (const path of byPath.keys()) throw new Violation(`${path}: this secret was never written`);
}

/**
 * Reads every version of every secret, and every vault, through the front door. No value may differ from an earlier
 * answer for the same version.
 */
async function readEverything(ledger: Ledger, clients: Client[], versions: StoredVersion[]): Promise<void> {
  const secrets = new Map(ledger.secrets().map((secret) => [secret.path, secret]));
  const reads = versions.map((row) => (client: Client) => client.read(secrets.get(row.path)!, row.version));
  const vaults = ledger.vaults.map((name) => async (client: Client) => {
    return (await client.readVault(name)) ? 'answered' : 'unknown';
  });
  const asked = [...reads, ...vaults].values();
  await Promise.all(
    clients.map(async (client) => {
      for (const ask of asked) {
        if ((await ask(client)) !== 'answered')
          throw new Violation('a read was not answered, although nothing was killed');
      }
    }),
  );
  for (const secret of secrets.values()) checkTimesSent(secret);
}

function checkTimesSent(secret: { path: string; known: Map<number, string>; timesSent(value: string): number }): void {
  for (const [value, versions] of Map.groupBy(secret.known, ([, value]) => value)) {
    if (versions.length <= secret.timesSent(value)) continue;
    const numbers = versions.map(([version]) => version).join();
    throw new Violation(`${secret.path}: a value sent ${secret.timesSent(value)} times has the versions ${numbers}`);
  }
}

/**
 * Checks that every answer has its entry, with the id of the request, the position of the receipt, and the right action
 * and decision, and no further entry unless the request changed several secrets.
 * @throws Violation
 */
export function checkAnswers(answers: Ledger['answers'], entries: LoggedEntry[]): void {
  const ids = new Set(entries.map(({ entry }) => entry.event.id));
  if (ids.size !== entries.length) throw new Violation(`the log has ${entries.length - ids.size} event ids twice`);

  const byRequest = Map.groupBy(entries, ({ entry }) => entry.event.requestId);
  for (const { requestId, action, decision, receipt, entries: count } of answers) {
    // A write also destroys the version that is one too many, which has a record of its own.
    const found = (byRequest.get(requestId) ?? []).filter(({ entry }) => entry.event.rule !== 'max-versions');
    const wanted = `${action} ${decision} of request ${requestId}${receipt ? ` at ${receipt.seq}` : ''}`;
    const first = count === 1 ? found[0] : found.find(({ entry }) => entry.seq === receipt?.seq);
    if (!first || found.length !== count) {
      const those = found.map(({ entry }) => JSON.stringify(entry)).join('\n');
      throw new Violation(`the log has ${found.length} entries for ${wanted}\n${those}`);
    }
    const { event, seq } = first.entry;
    const isRight =
      event.action === action &&
      event.decision === decision &&
      (!receipt || (receipt.seq === seq && receipt.leaf === first.leaf));
    if (!isRight) throw new Violation(`for ${wanted} the log has ${event.action} ${event.decision} at ${seq}`);
  }
}

/**
 * Checks that every stored version and vault has one record, that every record has its row, and that the hashes agree
 * unless the values were sealed again.
 */
function checkRecords(stored: StoredState, entries: LoggedEntry[], isResealed: boolean): void {
  const hash = (ciphertextSha256: string | undefined) => (isResealed ? '' : ciphertextSha256);
  const changes = entries.map(({ entry }) => entry.event).filter((event) => event.decision === 'allow');
  const writes = changes.filter((event) => event.action === 'secret.write' && event.reason !== 'unchanged');
  compareSets(
    'version',
    stored.versions.map((row) => `${row.vaultId} ${row.name} ${row.version} ${hash(row.ciphertextSha256)}`),
    writes.map(({ resource, ciphertextSha256 }) => {
      return `${resource?.vaultId} ${resource?.name} ${resource?.version} ${hash(ciphertextSha256)}`;
    }),
  );
  const vaults = changes.filter((event) => event.action === 'vault.create');
  compareSets(
    'vault',
    stored.vaultIds,
    vaults.map((event) => String(event.resource?.vaultId)),
  );
}

function compareSets(what: string, stored: string[], recorded: string[]): void {
  const [inDatabase, inLog] = [new Set(stored), new Set(recorded)];
  if (inLog.size !== recorded.length) throw new Violation(`the log has the same ${what} twice`);
  for (const item of inDatabase) if (!inLog.has(item)) throw new Violation(`stored without a record: ${what} ${item}`);
  for (const item of inLog) if (!inDatabase.has(item)) throw new Violation(`recorded but not stored: ${what} ${item}`);
}
