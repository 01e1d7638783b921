import { createDecipheriv, createPublicKey, randomBytes } from 'node:crypto';

import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { wrapKey } from '@cardea/crypto/keys/key-wrap';
import { Person } from '@cardea/testkit/person';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { freePorts, serviceProcess, start } from '../install/installation.ts';
import type { Installation } from '../install/installation.ts';
import { at, base64 } from './ground.ts';

// A kill needs processes of their own, so this runs the start command, in profile mini. trials/kill has many more kills.
const VAULT = 'imports';
let folder: string;
let dataDir: string;
let installation: Installation;
let admin: Person;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-killed-import-'));
  dataDir = join(folder, 'data');
  installation = start({ dataDir, port: await freePorts() });
  const url = await installation.ready();
  const [, password = ''] = /Log in as admin with the password (\S+)\n/.exec(installation.output()) ?? [];
  admin = await Person.signIn(url, 'admin', password);
  await admin.createVault(VAULT);
});

afterAll(async () => {
  // In order, because the services of a killed command still write for a moment.
  await installation.stop();
  await rm(folder, { recursive: true, force: true });
});

/** When a file is written to the next time. */
async function written(file: string): Promise<void> {
  const timeOf = async () => (await stat(join(dataDir, file), { bigint: true })).mtimeNs;
  const before = await timeOf();
  while ((await timeOf()) === before) await setImmediate();
}

// What happens in this order. A moment that comes early, because of other work, is a moment of an import all the same.
const moments: [moment: string, comes: (answered: Promise<unknown>) => Promise<unknown>][] = [
  ['is sent', () => setImmediate()],
  ['is being written', () => written('api/cardea.db-wal')],
  ['is recorded', () => written('audit/audit.db-wal')],
  ['is answered', (answered) => answered],
];

test.each(moments)('an import that is killed when it %s is made as a whole or not at all', async (moment, comes) => {
  const name = moment.replaceAll(' ', '-');
  const key = randomBytes(32);
  const body = await wrapped(key);
  const importAs = (as: string) => admin.post(`${at(VAULT, as)}:import`, body);
  const pid = await serviceProcess(installation, 'api-service');

  const answered = importAs(name).then(
    ({ status }) => status,
    () => undefined,
  );
  await Promise.race([comes(answered), answered]);
  process.kill(pid, 'SIGKILL');
  const status = await answered;
  expect([undefined, 201]).toContain(status);
  await expectEventually(async () => expect(await serviceProcess(installation, 'api-service')).not.toBe(pid));
  await expectEventually(async () => expect((await admin.get(`/vaults/${VAULT}`)).status).toBe(200));

  const isMade = (await admin.get(at(VAULT, name))).status === 200;
  if (status === 201) expect(isMade).toBe(true);
  // The wrapping key was used up with the key that it made, or not at all.
  if (!isMade) await importAs(name).expect(201);
  await importAs('another').expect(409);
  await admin.get(at(VAULT, 'another')).expect(404);

  const { body: versions } = await admin.get(`${at(VAULT, name)}:versions`).expect(200);
  expect(versions.items).toMatchObject([{ version: 1, state: 'enabled' }]);
  const sealed = await admin.post(`${at(VAULT, name)}:encrypt`, { plaintextBase64: base64('iban') }).expect(200);
  expect(opened(key, sealed.body.ciphertext as string)).toBe('iban');
  await expectEventually(async () => {
    const entries = await admin.auditEntries({ vault: VAULT, action: 'key.import', decision: 'allow' });
    expect(entries.filter(({ event }) => event.resource?.name === name)).toHaveLength(1);
  });
});

/** Wraps a key for one import. */
async function wrapped(key: Uint8Array): Promise<object> {
  const { body: job } = await admin.post(`/vaults/${VAULT}/keys:importJob`).expect(201);
  const bytes = await wrapKey(createPublicKey(job.wrappingKeyPem as string), key);
  const wrappedKeyBase64 = Buffer.from(bytes).toString('base64');
  return { algorithm: 'aes-256-gcm', importToken: job.importToken as string, wrappedKeyBase64 };
}

function opened(key: Uint8Array, ciphertext: string): string {
  const bytes = Buffer.from(ciphertext.replace('cardea:v1:', ''), 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
}
