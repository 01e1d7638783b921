import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Person } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';
import { runRotation } from '@cardea/vault/rotation/run-rotation';
import { query } from '../secrets/ground.ts';

export interface ShownRotation {
  id: string;
  kind: string;
  state: string;
  total: number;
  done: number;
  failed: number;
  startedBy: string;
  rowsPerSecond: number;
  estimatedEnd?: string;
  finishedAt?: string;
  failures: { kind: string; vault?: string; name?: string; version?: number; dekVersion?: number; reason: string }[];
}

/** Passes time, and signs the admin and the oversight in again: their tokens may have expired. */
export async function pass(system: TestSystem, ms: number): Promise<void> {
  system.passTime(ms);
  await system.as('admin');
  await system.as('carla');
}

/** Starts a rotation, as an admin. */
export async function start(admin: Person, body: { kind: 'dek' | 'kek'; vault?: string }): Promise<string> {
  return (await admin.post('/rotations', body).expect(202)).body.id as string;
}

export async function show(admin: Person, id: string): Promise<ShownRotation> {
  return (await admin.get(`/rotations/${id}`).expect(200)).body as ShownRotation;
}

/** Starts a rotation and works on it until its job has nothing more to do. */
export async function rotate(
  system: TestSystem,
  admin: Person,
  body: { kind: 'dek' | 'kek'; vault?: string },
): Promise<ShownRotation> {
  const id = await start(admin, body);
  await system.runJob('rotation.run', { rotationId: id });
  return show(admin, id);
}

export async function idOf(admin: Person, vault: string): Promise<string> {
  return (await admin.get(`/vaults/${vault}`).expect(200)).body.id as string;
}

/** The DEKs of a vault in their order: `1 destroyed`, `2 active`. */
export async function deksOf(system: TestSystem, vaultId: string): Promise<string[]> {
  const rows = await query<{ version: number; state: string; has_bytes: number }>(
    system,
    `select version, state, case when wrapped is null then 0 else 1 end as has_bytes
       from dek
      where vault_id = $1
      order by version`,
    [vaultId],
  );
  for (const { state, has_bytes: hasBytes } of rows) {
    if ((state === 'destroyed') === (hasBytes === 1)) throw new Error(`a ${state} DEK has ${hasBytes} wrappings`);
  }
  return rows.map(({ version, state }) => `${version} ${state}`);
}

/** The DEK version of each value of a vault: `name 1: 2`. */
export async function sealedUnder(system: TestSystem, vaultId: string): Promise<string[]> {
  const rows = await query<{ name: string; version: number; dek_version: number | null }>(
    system,
    `select s.name, e.version, e.dek_version
       from secret_version e
       join secret s on s.id = e.secret_id
      where e.vault_id = $1
      order by s.name, e.version`,
    [vaultId],
  );
  return rows.map((row) => `${row.name} ${row.version}: ${row.dek_version}`);
}

/** The records of a rotation, oldest first. */
export async function recordsIn(admin: Person, rotationId: string): Promise<AuditEvent[]> {
  const entries = await admin.auditEntries();
  return entries
    .toReversed()
    .map(({ event }) => event)
    .filter(({ requestId, resource }) => requestId === rotationId || resource?.name === rotationId)
    .filter(({ action }) => action !== 'rotation.read');
}

/** What the records tell: `dek.rotate 2`, `dek.reseal 2 ×3`, `dek.reseal! 1 name`. */
export async function trailOf(admin: Person, rotationId: string): Promise<string[]> {
  return (await recordsIn(admin, rotationId)).map(({ action, decision, dekVersion, kekVersion, resource }) => {
    const count = resource?.count === undefined ? undefined : `×${resource.count}`;
    const name = resource?.name === rotationId ? undefined : resource?.name;
    const what = [decision === 'deny' ? `${action}!` : action, dekVersion ?? kekVersion, name, count];
    return what.filter((part) => part !== undefined).join(' ');
  });
}

/**
 * Works on a rotation as a process does that stops: at the given look at its signal. A run looks before it claims a
 * vault and after each full page.
 */
export async function runUntilStopped(system: TestSystem, rotationId: string, looks: number): Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  let left = looks;
  signal.throwIfAborted = () => {
    left -= 1;
    if (left > 0) return;
    stop.abort();
    throw signal.reason;
  };
  const stopped = await runRotation(system.vault, rotationId, { signal, done: () => {} }).catch(
    (error: Error) => error,
  );
  if ((stopped as Error | undefined)?.name !== 'AbortError') throw new Error('it did not stop', { cause: stopped });
}

/** Works on a rotation, and does something before the transaction with the number `nth`, counted from 1. */
export function runWithPause(
  system: TestSystem,
  rotationId: string,
  { nth, work }: { nth: number; work: () => Promise<unknown> },
): Promise<void> {
  const { db } = system.vault;
  let transactions = 0;
  const transaction: typeof db.transaction = async (inside) => {
    transactions += 1;
    if (transactions === nth) await work();
    return db.transaction(inside);
  };
  const ctx = { ...system.vault, db: { ...db, transaction } };
  return runRotation(ctx, rotationId, { signal: new AbortController().signal, done: () => {} });
}

/** Makes a vault with `s0` to `s299`, which take several pages. */
export async function createBigVault(admin: Person, vault: string): Promise<string> {
  await admin.createVault(vault);
  const content = JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`s${i}`, `v${i}`])));
  await admin.post(`/vaults/${vault}/secrets:import`, { format: 'json', content }).expect(200);
  return idOf(admin, vault);
}

/** The first part of the rotation of one vault: it has a new DEK, and no value is resealed yet. */
export function onlyRenew(system: TestSystem, rotationId: string): Promise<void> {
  return runUntilStopped(system, rotationId, 2);
}
