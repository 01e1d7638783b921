import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Stranger } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';

/** The path of a key. */
export const at = (vault: string, name: string) => `/vaults/${vault}/keys/${name}`;

export const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Makes a key. */
export async function makeKey(person: Stranger, vault: string, name: string, algorithm: string): Promise<void> {
  await person.post(`/vaults/${vault}/keys`, { name, algorithm }).expect(201);
}

/** Encrypts a text under a key. */
export async function encrypt(person: Stranger, vault: string, name: string, body: object): Promise<string> {
  const answer = await person.post(`${at(vault, name)}:encrypt`, body).expect(200);
  return answer.body.ciphertext as string;
}

/** The records of a vault's keys, oldest first: `key.decrypt! signing v3 not-authentic`. */
export async function keyTrail(system: TestSystem, vault: string, action?: string): Promise<string[]> {
  const admin = await system.as('admin');
  const entries = await admin.auditEntries({ vault, ...(action === undefined ? {} : { action }) });
  return entries
    .toReversed()
    .filter(({ event }) => event.action.startsWith('key.'))
    .map(({ event }) => told(event));
}

function told({ action, decision, resource, rule }: AuditEvent): string {
  const version = resource?.keyVersion === undefined ? undefined : `v${resource.keyVersion}`;
  return [decision === 'deny' ? `${action}!` : action, resource?.name, version, rule]
    .filter((part) => part !== undefined)
    .join(' ');
}
