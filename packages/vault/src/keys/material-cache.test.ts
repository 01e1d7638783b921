import { generateKeyMaterial, readKeyMaterial } from '@cardea/crypto/keys/key-material';
import { expect, test } from '@jest/globals';
import { createKeyMaterials } from './material-cache.ts';

test('a caller who uses many keys makes nobody else open theirs again', async () => {
  const materials = createKeyMaterials({ steadyMs: () => 0 });
  const material = readKeyMaterial('aes-256-gcm', await generateKeyMaterial('aes-256-gcm'));
  const opened: string[] = [];
  const use = (id: string, by: string) => {
    const open = async () => {
      opened.push(id);
      return material;
    };
    return materials.use({ vaultId: 'v', context: Buffer.from(id), ciphertext: Buffer.from(id) }, open, by);
  };
  await use('of bob', 'user:bob');
  for (let n = 0; n < 1_100; n += 1) await use(`${n} of mallory`, 'user:mallory');
  opened.length = 0;
  await use('of bob', 'user:bob');
  await use('0 of mallory', 'user:mallory');
  expect(opened).toEqual(['0 of mallory']);
});
