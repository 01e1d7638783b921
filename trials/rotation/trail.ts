import type { AuditAction } from '@cardea/contracts/audit-actions';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { SYSTEM_VAULT_ID } from '@cardea/vault/deks/dek-store';
import type { LoggedEntry } from '../kill/audit-export.ts';
import { Violation } from '../kill/ledger.ts';
import type { KnownVault } from './known-secrets.ts';
import type { ShownKek } from './rotations.ts';
import type { StoredDek, StoredKeys } from './stored.ts';

/** A secret as its records tell. */
interface ToldSecret {
  versions: number;
  isTrashed: boolean;
}

/**
 * Follows the records of all changes of secrets from the beginning, and compares the result with what is known: so every
 * change has one record, and every record its change.
 * @throws Violation
 */
export function checkSecretRecords(events: AuditEvent[], vaults: KnownVault[]): void {
  const told = new Map<string, Map<string, ToldSecret>>();
  // The relay may send the records of two requests in any order.
  const inTime = events
    .filter(({ decision, reason }) => decision === 'allow' && reason !== 'unchanged')
    .sort((a, b) => (a.ts === b.ts ? compare(a.id, b.id) : compare(a.ts, b.ts)));
  for (const event of inTime) follow(told, event);

  for (const { name, secrets } of vaults) {
    const inVault = told.get(name);
    if (!inVault) throw new Violation(`the log does not know the vault ${name}`);
    for (const { name: secret, values, isTrashed } of secrets) {
      const found = inVault.get(secret);
      if (found?.versions === values.length && found.isTrashed === isTrashed) continue;
      throw new Violation(
        `${name}/${secret} has ${values.length} versions, and the log tells ${JSON.stringify(found)}`,
      );
    }
    if (inVault.size !== secrets.length) throw new Violation(`the log tells of ${inVault.size} secrets in ${name}`);
    told.delete(name);
  }
  for (const vault of told.keys()) throw new Violation(`the log tells of the vault ${vault}, which does not exist`);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function follow(told: Map<string, Map<string, ToldSecret>>, event: AuditEvent): void {
  const { action, resource = {} } = event;
  const { vault = '', name = '', version } = resource;
  const secrets = told.get(vault);
  switch (action) {
    case 'vault.create':
      if (secrets) throw new Violation(`the vault ${vault} is recorded twice`);
      told.set(vault, new Map());
      return;
    case 'vault.delete':
      if (!told.delete(vault)) throw new Violation(`the vault ${vault} is deleted twice`);
      return;
    case 'secret.write':
    case 'secret.rollback': {
      const secret = secrets?.get(name) ?? { versions: 0, isTrashed: false };
      if (version !== secret.versions + 1)
        throw new Violation(`${vault}/${name}: version ${version} follows ${secret.versions}`);
      secrets?.set(name, { ...secret, versions: version });
      return;
    }
    case 'secret.delete':
    case 'secret.restore': {
      const secret = secrets?.get(name);
      const isTrashed = action === 'secret.delete';
      if (secret?.isTrashed !== !isTrashed) throw new Violation(`${vault}/${name}: ${action} is recorded twice`);
      secret.isTrashed = isTrashed;
      return;
    }
    case 'secret.move': {
      const secret = secrets?.get(name);
      if (!secret) throw new Violation(`${vault}/${name} is moved twice`);
      secrets?.delete(name);
      told.get(resource.toVault!)?.set(resource.toName!, secret);
      return;
    }
    case 'secret.destroy':
    case 'secret.purge':
    case 'secret.expire':
      throw new Violation(`${vault}/${name}: nobody asked for ${action}`);
    default:
  }
}

/**
 * Checks that every new DEK, every destroyed DEK, every new KEK and every destroyed KEK has exactly one record, and
 * every such record its effect. A KEK has one record of kek-service and one of Cardea. DEKs of deleted vaults do not exist
 * any more, so of them only repeated records show. Also checks that no record tells of damage.
 * @throws Violation
 */
export function checkKeyRecords(
  entries: LoggedEntry['entry'][],
  { deks, vaultIds }: StoredKeys,
  keks: ShownKek[],
): void {
  const damage = entries.find(({ event }) => event.suspicious === 'integrity_failure');
  if (damage) throw new Violation(`the log tells of damage: ${JSON.stringify(damage)}`);
  const done = entries.filter(({ event }) => event.decision === 'allow' && event.reason !== 'unchanged');

  const isKept = ({ event }: LoggedEntry['entry']) => {
    const id = vaultIdOf(event);
    return vaultIds.has(id) || id === SYSTEM_VAULT_ID;
  };
  const ofDeks = (action: AuditAction) => done.filter(({ event }) => event.action === action);
  for (const action of ['dek.rotate', 'dek.destroy'] as const) refuseTwice(action, ofDeks(action).map(recordedDek));
  const made = deks.filter(({ dekVersion }) => dekVersion > 1).map(storedDek);
  compareRecords('dek.rotate', made, ofDeks('dek.rotate').filter(isKept).map(recordedDek));
  const destroyed = deks.filter(({ state }) => state === 'destroyed').map(storedDek);
  compareRecords('dek.destroy', destroyed, ofDeks('dek.destroy').filter(isKept).map(recordedDek));

  const madeKeks = keks.filter(({ version }) => version > 1);
  const destroyedKeks = keks.filter(({ state }) => state === 'destroyed');
  for (const isKekService of [true, false]) {
    const ofPeer = done.filter(({ peer }) => (peer === 'kek-service') === isKekService);
    compareKekRecords('kek.rotate', madeKeks, ofPeer);
    compareKekRecords('kek.destroy', destroyedKeks, ofPeer);
  }
}

function recordedDek({ event }: LoggedEntry['entry']): string {
  return `${vaultIdOf(event)} ${event.dekVersion}`;
}

function storedDek({ vaultId, dekVersion }: StoredDek): string {
  return `${vaultId} ${dekVersion}`;
}

function vaultIdOf({ resource }: AuditEvent): string {
  return resource?.vaultId ?? '';
}

function compareKekRecords(action: AuditAction, keks: ShownKek[], entries: LoggedEntry['entry'][]): void {
  const records = entries.filter(({ event }) => event.action === action);
  const effects = keks.map(({ version }) => String(version));
  compareRecords(
    action,
    effects,
    records.map(({ event }) => String(event.kekVersion)),
  );
}

function compareRecords(action: AuditAction, effects: string[], records: string[]): void {
  refuseTwice(action, records);
  const [done, recorded] = [new Set(effects), new Set(records)];
  for (const effect of done) if (!recorded.has(effect)) throw new Violation(`${action} of ${effect} has no record`);
  for (const record of recorded) {
    if (!done.has(record)) throw new Violation(`${action} of ${record} is recorded, but was not done`);
  }
}

function refuseTwice(action: AuditAction, records: string[]): void {
  const seen = new Set<string>();
  for (const record of records) {
    if (seen.has(record)) throw new Violation(`the log has ${action} of ${record} twice`);
    seen.add(record);
  }
}
