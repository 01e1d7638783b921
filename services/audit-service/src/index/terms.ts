import type { AuditEvent } from '@cardea/contracts/audit-event';
import { sha256 } from '@cardea/crypto/ids';

// What the number of a field means never changes: stored terms begin with it.
const fields = {
  /** `user:<id>`: who acted. */
  actorId: 1,
  /** `user:<name>`: what the actor was called then. */
  actorName: 2,
  action: 3,
  decision: 4,
  vault: 5,
  vaultId: 6,
  /** The name of a secret or key, or of what else an action is about. */
  name: 7,
  /** The name of a key. */
  key: 8,
  requestId: 9,
  /** The rule that was tripped, and `any`. */
  suspicious: 10,
  /** `user:<name>`, `application:<name>`: the account that an action was about. */
  account: 11,
} as const;

export type Field = keyof typeof fields;

/** Something that a question can ask for: a field with one value. */
export type Facet = readonly [field: Field, value: string];

/** The value of `suspicious` that every event with a tripped rule has. */
export const ANY_RULE = 'any';

/** All that an event can be found by. A move is found by both of its vaults and both of its names. */
export function facetsOf(event: AuditEvent): Facet[] {
  const { actor, action, decision, requestId, suspicious, resource = {} } = event;
  const { vault, vaultId, name, toVault, toVaultId, toName, user, application } = resource;
  const key = action.startsWith('key.') ? name : undefined;
  const all: [Field, string | undefined][] = [
    ['actorId', `${actor.type}:${actor.id}`],
    ['actorName', actor.name === undefined ? undefined : `${actor.type}:${actor.name}`],
    ['action', action],
    ['decision', decision],
    ['vault', vault],
    ['vault', toVault],
    ['vaultId', vaultId],
    ['vaultId', toVaultId],
    ['name', name],
    ['name', toName],
    ['key', key],
    ['requestId', requestId],
    ['suspicious', suspicious],
    ['suspicious', suspicious === undefined ? undefined : ANY_RULE],
    ['account', user === undefined ? undefined : `user:${user}`],
    ['account', application === undefined ? undefined : `application:${application}`],
  ];
  return all.flatMap(([field, value]) => (value === undefined ? [] : [[field, value] as const]));
}

/** Whether an event has all facets. */
export function hasFacets(event: AuditEvent, wanted: readonly Facet[]): boolean {
  const own = facetsOf(event);
  return wanted.every(([field, value]) => own.some((facet) => facet[0] === field && facet[1] === value));
}

const HASH_BYTES = 6;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-/;

// Most values come again and again: the same callers, actions and vaults. Each entry is hashed twice, for the index and
// when it is read again.
const HASHES_MAX = 4_096;
const hashes = new Map<string, number>();

/**
 * The number under which a facet is in the index: its field and 48 bits of a hash, 53 bits in all. Two values may share
 * a number, so what the index finds is compared with the entry itself. A UUID is its own hash: if it begins with a time,
 * the newest terms of the field stand together.
 */
export function termOf([field, value]: Facet): number {
  const hash =
    field === 'requestId' && UUID.test(value)
      ? Number.parseInt(value.slice(0, 8) + value.slice(9, 13), 16)
      : hashOf(value);
  return fields[field] * 2 ** (8 * HASH_BYTES) + hash;
}

function hashOf(value: string): number {
  const known = hashes.get(value);
  if (known !== undefined) return known;
  const hash = Buffer.from(sha256(value)).readUIntBE(0, HASH_BYTES);
  if (hashes.size >= HASHES_MAX) hashes.clear();
  hashes.set(value, hash);
  return hash;
}

/** All terms of an event, each once. */
export function termsOf(event: AuditEvent): number[] {
  return [...new Set(facetsOf(event).map(termOf))];
}
