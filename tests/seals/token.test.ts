import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sealStatus } from '@cardea/contracts/seal-api';
import { makeSoftHsm } from '@cardea/testkit/soft-hsm';
import type { SoftHsm } from '@cardea/testkit/soft-hsm';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { callAs } from '../access/probes.ts';

const operator = { name: 'operator', peer: 'kek-service' } as const;
const settings: NodeJS.ProcessEnv = {};
let hsm: SoftHsm;

beforeAll(() => {
  hsm = makeSoftHsm();
  settings['CARDEA_PKCS11_MODULE'] = hsm.module;
  settings['CARDEA_PKCS11_PIN_FILE'] = hsm.pinFile;
});

// In one profile: kek-service alone uses the token, and it has no database.
const [system, { admin }] = useSystem('mini', settings);
afterAll(() => hsm.remove());

beforeAll(async () => {
  await admin.createVault('payments');
  await admin.putSecret('payments', 's', 'v');
});

const status = () => callAs(system, operator, (client) => client.call(sealStatus, {}));

async function restartKek(): Promise<void> {
  await system.stopService('kek');
  await system.startService('kek');
}

test('an admin adds a seal by a token: its key is made in the token, and the keyring then opens by it alone', async () => {
  const { body } = await admin
    .post('/seals', { type: 'pkcs11', tokenLabel: hsm.tokenLabel, keyLabel: 'cardea-seal' })
    .expect(201);
  expect(body).toMatchObject({ type: 'pkcs11', tokenLabel: hsm.tokenLabel, keyLabel: 'cardea-seal' });
  const { seals } = await status();
  expect(seals.map(({ type }) => type)).toEqual(['file', 'pkcs11']);
  // The token has decrypted the seal key once, so the other seal may go.
  await admin.delete(`/seals/${seals[0]!.id}`).expect(204);
  await restartKek();
  expect((await status()).sealed).toBe(false);
  expect(await admin.readSecret('payments', 's')).toBe('v');

  const added = await admin.auditEntries({ action: 'seal.add' });
  expect(added.map(({ peer, event }) => [peer, event.reason])).toEqual([
    ['api-service', 'pkcs11'],
    ['kek-service', 'pkcs11'],
  ]);
  const everything = JSON.stringify(await admin.auditEntries()) + readFileSync(keyring(), 'utf8');
  expect(everything).not.toContain(readFileSync(hsm.pinFile, 'utf8').trim());
});

test('without its token, with a wrong PIN, or with a keyring that was changed, the start is refused and says why', async () => {
  await system.stopService('kek');
  const refused = async (sentence: RegExp) => {
    await expect(system.startService('kek')).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(sentence),
    });
  };
  hsm.pullOut();
  await refused(/does not open the keyring: there is no token with the label cardea-test/);
  hsm.putBack();

  const pin = readFileSync(hsm.pinFile, 'utf8');
  writeFileSync(hsm.pinFile, '0000-0000\n');
  await refused(/does not open the keyring: the PIN is wrong/);
  writeFileSync(hsm.pinFile, pin);

  const own = readFileSync(keyring(), 'utf8');
  const { encryptedSealKeyBase64 } = (JSON.parse(own) as { seals: { encryptedSealKeyBase64: string }[] }).seals[0]!;
  const changed = Buffer.from(encryptedSealKeyBase64, 'base64');
  changed[20]! ^= 1;
  writeFileSync(keyring(), own.replace(encryptedSealKeyBase64, changed.toString('base64')));
  await refused(/does not open the keyring: its key cardea-seal is another one, or the keyring was changed/);
  // A seal that is put in the place of another does not open either: its id is bound to what the token encrypted.
  const { id } = (JSON.parse(own) as { seals: { id: string }[] }).seals[0]!;
  writeFileSync(keyring(), own.replace(id, `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`));
  await refused(/is another one, or the keyring was changed/);

  writeFileSync(keyring(), own);
  await system.startService('kek');
  expect(await admin.readSecret('payments', 's')).toBe('v');
});

test('a key that can be read out of the token makes no seal: who has the token for a moment would have the seal key', async () => {
  hsm.makeExtractableKey('readable');
  const before = (await status()).seals;
  const refused = await admin
    .post('/seals', { type: 'pkcs11', tokenLabel: hsm.tokenLabel, keyLabel: 'readable' })
    .expect(409);
  expect(refused.body.detail).toContain('the key readable can be read out of the token');
  expect((await status()).seals).toEqual(before);
  const [newest] = await admin.auditEntries({ action: 'seal.add', decision: 'deny' });
  expect(newest!.event).toMatchObject({ decision: 'deny', actor: { name: 'admin' } });
});

test('a token that is away does not keep the other seals from opening the keyring', async () => {
  await admin.post('/seals', { type: 'file' }).expect(201);
  await system.stopService('kek');
  hsm.pullOut();
  await system.startService('kek');
  expect((await status()).sealed).toBe(false);
  expect(await admin.readSecret('payments', 's')).toBe('v');
  const wrong = await admin.post('/seals', { type: 'pkcs11', tokenLabel: 'nowhere', keyLabel: 'k' }).expect(409);
  expect(wrong.body.detail).toContain('there is no token with the label nowhere');
  hsm.putBack();
});

function keyring(): string {
  return join(system.dataDir, 'kek', 'keyring.json');
}
