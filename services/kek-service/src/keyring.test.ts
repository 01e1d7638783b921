import { canonicalize } from '@cardea/crypto/canonical-json';
import { kekContext } from '@cardea/crypto/context';
import { EnvelopeKey, seal } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import { describe, expect, test } from '@jest/globals';
import { parseKeyring } from './keyring-file.ts';
import type { KekEntry, KeyringFile } from './keyring-format.ts';
import { ROOT_KEY_VERSION, authenticateKeyring, createKeyring, openKeyring } from './keyring.ts';
import { rewrapDek, unwrapDek, wrapDek } from './keyring.ts';

const createdAt = '2026-11-22T06:27:31.000Z';
const ref = { vaultId: '0198f0aa-0000-7000-8000-000000000001', dekVersion: 3 };
const dek = randomKey();

describe('a keyring', () => {
  test('opens under the root key it was made with, and its only KEK wraps', () => {
    const rootKey = newRootKey();
    const keyring = openKeyring(rootKey, createKeyring(rootKey, { type: 'file' }, createdAt));
    expect(keyring.states()).toEqual([{ version: 1, state: 'enabled' }]);
    const wrapped = wrapDek(keyring, ref, dek);
    expect(wrapped.kekVersion).toBe(1);
    expect([...unwrapDek(keyring, ref, wrapped)]).toEqual([...dek]);
  });

  test('does not open under another root key', () => {
    const file = createKeyring(newRootKey(), { type: 'file' }, createdAt);
    expect(() => openKeyring(newRootKey(), file)).toThrow(expect.objectContaining({ name: 'IntegrityError' }));
  });

  test('does not open with any bit of any byte of its file flipped', () => {
    const rootKey = newRootKey();
    const bytes = Buffer.from(`${canonicalize(createKeyring(rootKey, { type: 'file' }, createdAt))}\n`);
    expect(() => openKeyring(rootKey, parseKeyring(bytes.toString()))).not.toThrow();
    for (let at = 0; at < bytes.length; at += 1) {
      for (let bit = 1; bit < 256; bit *= 2) {
        bytes[at]! ^= bit;
        expect(opens(rootKey, bytes)).toBe(false);
        bytes[at]! ^= bit;
      }
    }
  });

  test('does not open with a state, a version or an entry changed, though each KEK is as it was', () => {
    const rootKey = newRootKey();
    const file = keyringOf(rootKey, ['enabled', 'enabled']);
    const [first, second] = file.keks as [KekEntry, KekEntry];
    const changed = [
      [{ ...first, state: 'decrypt-only' }, second],
      [first],
      [first, { ...second, version: 3 }],
      [first, { ...second, createdAt: '2020-01-01T00:00:00.000Z' }],
    ] as KekEntry[][];
    for (const keks of changed) expect(() => openKeyring(rootKey, { ...file, keks })).toThrow('changed');
  });

  test('does not open when two KEKs changed places, even by somebody who could authenticate it', () => {
    const rootKey = newRootKey();
    const { mac: _, ...contents } = keyringOf(rootKey, ['enabled', 'enabled']);
    const [first, second] = contents.keks as Extract<KekEntry, { wrappedKeyBase64: string }>[];
    const keks = [
      { ...first!, wrappedKeyBase64: second!.wrappedKeyBase64 },
      { ...second!, wrappedKeyBase64: first!.wrappedKeyBase64 },
    ];
    const moved = authenticateKeyring(rootKey, { ...contents, keks });
    expect(() => openKeyring(rootKey, moved)).toThrow(expect.objectContaining({ name: 'IntegrityError' }));
  });

  test('is of no use once it is closed', () => {
    const rootKey = newRootKey();
    const keyring = openKeyring(rootKey, createKeyring(rootKey, { type: 'file' }, createdAt));
    const wrapped = wrapDek(keyring, ref, dek);
    keyring.close();
    expect(() => wrapDek(keyring, ref, dek)).toThrow('destroyed');
    expect(() => unwrapDek(keyring, ref, wrapped)).toThrow('destroyed');
  });
});

describe('wrapping', () => {
  const rootKey = newRootKey();
  const before = openKeyring(rootKey, keyringOf(rootKey, ['enabled', 'enabled']));
  const after = openKeyring(rootKey, keyringOf(rootKey, ['destroyed', 'decrypt-only', 'enabled', 'decrypt-only']));

  test('takes the newest enabled KEK and no other', () => {
    expect(wrapDek(before, ref, dek).kekVersion).toBe(2);
    expect(wrapDek(after, ref, dek).kekVersion).toBe(3);
  });

  test('refuses what is not 32 bytes', () => {
    for (const bytes of [0, 16, 31, 33]) {
      expect(() => wrapDek(before, ref, new Uint8Array(bytes))).toThrow(
        expect.objectContaining({ code: 'invalid_request' }),
      );
    }
  });

  test('opens for the vault, the DEK version and the KEK version it was made for, and for no others', () => {
    const wrapped = wrapDek(before, ref, dek);
    const mismatch = expect.objectContaining({ code: 'access_denied', suspicious: 'wrapped_dek_mismatch' });
    const otherVault = { ...ref, vaultId: ref.vaultId.replace(/1$/, '2') };
    expect(() => unwrapDek(before, otherVault, wrapped)).toThrow(mismatch);
    expect(() => unwrapDek(before, { ...ref, dekVersion: 4 }, wrapped)).toThrow(mismatch);
    expect(() => unwrapDek(before, ref, { ...wrapped, kekVersion: 1 })).toThrow(mismatch);
    expect(() => unwrapDek(before, ref, { ...wrapped, bytes: wrapped.bytes.subarray(1) })).toThrow(mismatch);
    expect(() => unwrapDek(before, ref, { ...wrapped, bytes: new Uint8Array() })).toThrow(mismatch);
    expect([...unwrapDek(before, ref, wrapped)]).toEqual([...dek]);
  });

  test('a decrypt-only KEK still unwraps; a destroyed or unknown one is refused as such', () => {
    const wrapped = wrapDek(before, ref, dek);
    expect([...unwrapDek(after, ref, wrapped)]).toEqual([...dek]);
    for (const kekVersion of [1, 9]) {
      const refusal = expect.objectContaining({
        code: 'invalid_request',
        message: `KEK version ${kekVersion} is unknown or was destroyed`,
      });
      expect(() => unwrapDek(after, ref, { ...wrapped, kekVersion })).toThrow(refusal);
    }
  });

  test('a DEK that is rewrapped is under the newest KEK, and the same DEK', () => {
    const rewrapped = rewrapDek(after, ref, wrapDek(before, ref, dek));
    expect(rewrapped.kekVersion).toBe(3);
    expect([...unwrapDek(after, ref, rewrapped)]).toEqual([...dek]);
  });
});

function newRootKey(): EnvelopeKey {
  return new EnvelopeKey(ROOT_KEY_VERSION, randomKey());
}

// KEKs that are the same in every keyring made here, as they are in one keyring over the years.
function keyringOf(rootKey: EnvelopeKey, states: KekEntry['state'][]): KeyringFile {
  const keks = states.map((state, index): KekEntry => {
    const version = index + 1;
    if (state === 'destroyed') return { version, state, createdAt };
    const wrapped = seal(rootKey, new Uint8Array(32).fill(version), kekContext({ kekVersion: version }));
    return { version, state, createdAt, wrappedKeyBase64: Buffer.from(wrapped).toString('base64') };
  });
  return authenticateKeyring(rootKey, { format: 1, seal: { type: 'file' }, keks });
}

function opens(rootKey: EnvelopeKey, bytes: Buffer): boolean {
  try {
    openKeyring(rootKey, parseKeyring(bytes.toString()));
    return true;
  } catch {
    return false;
  }
}
