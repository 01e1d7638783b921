import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Person } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';

/** Stands for an id in the examples of the help. */
export const EXAMPLE_ID = '01a229df-2139-779b-a82a-89232543b600';

/** What the examples of the help find: the admin owns the vault `payments`, and there are files beside them. */
export async function fillForExamples(admin: Person, folder: string): Promise<void> {
  await admin.createVault('payments');
  for (const value of ['hunter1', 'hunter2']) await admin.putSecret('payments', 'db/password', value);
  await admin.putSecret('payments', 'prod/db/password', 'hunter2');
  for (const name of ['app/old', 'app/from']) await admin.putSecret('payments', name, 'v');
  await admin.put('/vaults/payments/secrets/app/old', { value: 'w' }).expect(200);
  writeFileSync(join(folder, 'server.key'), Buffer.from([0x30, 0x82, 0xff]));
  writeFileSync(join(folder, 'app.env'), 'LOG_LEVEL=info\n');
  writeFileSync(join(folder, 'passphrase.txt'), 'a long and quiet passphrase\n');
}

/** What an example needs that no earlier one has made. @returns what its id stands for */
export async function idFor(system: TestSystem, command: string): Promise<string | undefined> {
  const admin = await system.as('admin');
  if (command === 'cardea app delete-credential') {
    const { body } = await admin.get('/applications/ci/credentials').expect(200);
    return (body.items as { id: string }[])[1]!.id;
  }
  if (!command.startsWith('cardea rotation ')) return undefined;
  // Nothing runs its job here, so that it stays as the example needs it.
  const { body } = await admin.get('/rotations').expect(200);
  return (body.items as { id: string; kind: string }[]).find(({ kind }) => kind === 'dek')?.id;
}
