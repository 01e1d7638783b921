import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { exportAuditLog } from '../kill/audit-export.ts';
import { checkAnswers } from '../kill/checks.ts';
import { Violation } from '../kill/ledger.ts';
import type { Ledger } from '../kill/ledger.ts';
import { readSecret, restoreSecret } from './changes.ts';
import type { Client } from './client.ts';
import type { Installation } from './installation.ts';
import type { KnownSecret, KnownVault } from './known-secrets.ts';
import { openDeks, searchFiles } from './plaintext.ts';
import { destroyKek, letKekRotate, listKeks, patienceFor, rotate, untilNoneIsOpen } from './rotations.ts';
import type { Rotation, ShownKek } from './rotations.ts';
import { checkKeys, listDeks, untilOutboxIsEmpty } from './stored.ts';
import { checkKeyRecords, checkSecretRecords } from './trail.ts';

const READY_WITHIN_MS = MINUTE_MS;
/** A KEK can be destroyed once its DEKs are rewrapped and kek-service answers again. */
const DESTROYED_WITHIN_MS = 30 * SECOND_MS;

/** A trial whose clients have stopped. */
export interface Rested {
  installation: Installation;
  ledger: Ledger;
  vaults: KnownVault[];
  client: Client;
  /** More clients, to read everything. */
  clients: Client[];
  folder: string;
  /** Signed checkpoints that the trial has kept. */
  held: string[];
  /** Every value of a secret begins with it, and no other data has it. */
  mark: string;
  signInTwofold(): Promise<void>;
  /** Tells the person who waits what is checked now. */
  say(text: string): void;
}

/** What the checks saw. */
export interface Checked {
  rotations: Rotation[];
  /** The rotation of all DEKs that nothing disturbed. */
  last: Rotation;
  values: number;
  entries: number;
  deksMade: number;
  deksDestroyed: number;
  keks: number;
  bytesSearched: number;
}

/**
 * Lets all rotations finish, rotates all DEKs and the KEK once more, destroys the old KEKs, restarts every service and
 * then reads every value. Compares everything with what is known: the values, the keys in the database, and the audit
 * log. Searches all files for what must be only in memory.
 * @throws Violation that names the first difference
 */
export async function checkEverything(trial: Rested): Promise<Checked> {
  const { installation, client, vaults, mark, say } = trial;
  const secrets = vaults.flatMap((vault) => vault.secrets);
  const patienceMs = patienceFor(secrets.reduce((sum, { values }) => sum + values.length, 0));
  await untilNoneIsOpen(client, patienceMs);
  const plaintexts = [Buffer.from(mark), ...(await openNow(installation))];
  say('all rotations have ended; now all keys rotate once more');
  const last = await rotate(client, 'dek', patienceMs);
  await letKekRotate(installation);
  await rotate(client, 'kek', patienceMs);
  const keks = await destroyOldKeks(client);

  say('the old KEKs are destroyed; now every value is read');
  // Nothing of the destroyed keys is left in memory.
  for (const target of installation.targets) await installation.kill(target);
  await installation.untilReady(READY_WITHIN_MS);
  const values = await readEverything(trial, secrets);
  await trial.signInTwofold();
  plaintexts.push(...(await openNow(installation)));
  say('every value is right; now the database, the audit log and all files are compared');
  return { ...(await compareWithStored(trial, keks)), last, values, bytesSearched: await searchFor(trial, plaintexts) };
}

async function openNow(installation: Installation): Promise<Buffer[]> {
  const db = installation.openDatabase();
  try {
    return await openDeks(installation, await listDeks(db));
  } finally {
    await db.close();
  }
}

async function destroyOldKeks(client: Client): Promise<ShownKek[]> {
  const deadline = performance.now() + DESTROYED_WITHIN_MS;
  for (;;) {
    const keks = await listKeks(client);
    const old = keks.filter(({ state }) => state === 'decrypt-only');
    if (old.length === 0) return keks;
    if (performance.now() > deadline) throw new Violation(`old KEKs are not destroyed: ${JSON.stringify(old)}`);
    for (const { version, deks } of old) {
      if ((await destroyKek(client, version)) === false) throw new Violation(`KEK ${version} still wraps ${deks} DEKs`);
    }
  }
}

/** Restores what is in the trash, and reads every version of every secret. Returns how many it read. */
async function readEverything({ clients }: Rested, secrets: KnownSecret[]): Promise<number> {
  const left = secrets.values();
  let values = 0;
  await Promise.all(
    clients.map(async (client) => {
      for (const secret of left) {
        if (secret.isTrashed) await restoreSecret(client, secret);
        if (secret.isTrashed) throw new Violation(`${secret.path} was not restored, although nothing was killed`);
        for (let version = 1; version <= secret.values.length; version += 1) {
          const isAnswered = await readSecret(client, secret, version);
          if (!isAnswered) throw new Violation('a read was not answered, although nothing was killed');
          values += 1;
        }
      }
    }),
  );
  return values;
}

async function compareWithStored(
  trial: Rested,
  keks: ShownKek[],
): Promise<Omit<Checked, 'last' | 'values' | 'bytesSearched'>> {
  const { installation, client, ledger, vaults, held, folder } = trial;
  const rotations = await untilNoneIsOpen(client, READY_WITHIN_MS);
  const db = installation.openDatabase();
  try {
    await untilOutboxIsEmpty(db);
    const stored = await checkKeys(db, keks.at(-1)!.version);
    const answers = [...ledger.answers];
    const logged = await exportAuditLog(client, { folder, dataDir: installation.dataDir, held });
    checkAnswers(answers, logged);
    const entries = logged.map(({ entry }) => entry);
    checkSecretRecords(
      entries.map(({ event }) => event),
      vaults,
    );
    checkKeyRecords(entries, stored, keks);
    const count = (action: string) => entries.filter(({ event }) => event.action === action).length;
    return {
      rotations,
      entries: entries.length,
      deksMade: count('dek.rotate'),
      deksDestroyed: count('dek.destroy'),
      keks: keks.length,
    };
  } finally {
    await db.close();
  }
}

async function searchFor({ installation }: Rested, plaintexts: Buffer[]): Promise<number> {
  return searchFiles(await installation.listFiles(), plaintexts);
}
