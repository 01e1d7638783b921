import { expect, test } from '@jest/globals';
import { generateKeyMaterial, readKeyMaterial } from './key-material.ts';
import { oaepBytesMax, openOaep, sealOaep } from './rsa-oaep.ts';

test('a message opens with its key and label only, up to the length that fits', async () => {
  const { key, publicKey } = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
  const other = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
  expect(oaepBytesMax(publicKey!)).toBe(190);
  const [label, none] = [Buffer.from('orders'), new Uint8Array(0)];
  for (const length of [0, 1, 190]) {
    const sealed = await sealOaep(publicKey!, new Uint8Array(length).fill(7), label);
    expect([length, await openOaep(key, sealed, label)]).toEqual([length, new Uint8Array(length).fill(7)]);
    expect(await openOaep(key, sealed, none)).toBeUndefined();
    expect(await openOaep(other.key, sealed, label)).toBeUndefined();
    expect(await openOaep(key, sealed.subarray(1), label)).toBeUndefined();
    expect(await openOaep(key, none, label)).toBeUndefined();
  }
  await expect(sealOaep(publicKey!, new Uint8Array(191), label)).rejects.toThrow();
});

test('a ciphertext that begins with a zero does not open without it', async () => {
  const { key, publicKey } = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
  const none = new Uint8Array(0);
  let sealed: Uint8Array;
  // One in 256.
  do sealed = await sealOaep(publicKey!, none, none);
  while (sealed[0] !== 0);
  expect(await openOaep(key, sealed, none)).toEqual(none);
  expect(await openOaep(key, sealed.subarray(1), none)).toBeUndefined();
});
