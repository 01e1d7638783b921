import type { AuditEvent } from '@cardea/contracts/audit-event';
import { uuidv7, randomKey } from '@cardea/crypto/ids';
import { describe, expect, test } from '@jest/globals';
import { documentText, parseDocument } from './format.ts';
import type { KekEntry, KeyringDocument } from './format.ts';
import { kekVersions, newKek, withNewKek, withoutKek } from './kek-versions.ts';
import { ONLY_VERSION, authenticate, nextDocument, openKeyring, toKey, unwrapRootKey, wrapRootKey } from './keyring.ts';
import { rewrapDek, unwrapDek, wrapDek } from './wrapping.ts';

const createdAt = '2026-11-22T06:27:31.000Z';
const ref = { vaultId: '0198f0aa-0000-7000-8000-000000000001', dekVersion: 3 };
const dek = randomKey();
const keysOf = new Map<string, KekEntry>();
const record: AuditEvent = {
  action: 'keyring.replace',
  actor: { id: 'kek-service', type: 'service' },
  decision: 'allow',
  id: uuidv7(0),
  ts: '2026-11-22T06:27:31.000000Z',
};

describe('a keyring', () => {
  test('opens under the root key it was made with, and its only KEK wraps', () => {
    const rootKey = newRootKey();
    const keyring = openKeyring(rootKey, keyringOf(rootKey, ['enabled']));
    expect(kekVersions(keyring.document)).toEqual([{ version: 1, state: 'enabled', createdAt, requestId: null }]);
    const wrapped = wrapDek(keyring, ref, dek);
    expect(wrapped.kekVersion).toBe(1);
    expect([...unwrapDek(keyring, ref, wrapped)]).toEqual([...dek]);
  });

  test('does not open under another root key', () => {
    const file = keyringOf(newRootKey(), ['enabled']);
    expect(() => openKeyring(newRootKey(), file)).toThrow(expect.objectContaining({ name: 'IntegrityError' }));
  });

  test('does not open with any bit of any byte of its file flipped', () => {
    const rootKey = newRootKey();
    const bytes = Buffer.from(documentText(keyringOf(rootKey, ['decrypt-only', 'enabled'])));
    expect(() => openKeyring(rootKey, parseDocument(bytes.toString()))).not.toThrow();
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
    const file = keyringOf(rootKey, ['decrypt-only', 'enabled']);
    const [first, second] = file.keks as [KekEntry, KekEntry];
    const changed = [
      [{ version: 1, state: 'destroyed', createdAt }, second],
      [second],
      [first, { ...second, version: 3 }],
      [first, { ...second, createdAt: '2020-01-01T00:00:00.000Z' }],
    ] as KekEntry[][];
    for (const keks of changed) expect(() => openKeyring(rootKey, { ...file, keks })).toThrow('changed');
  });

  test('does not open when two KEKs changed places, even by somebody who could authenticate it', () => {
    const rootKey = newRootKey();
    const { mac: _, ...contents } = keyringOf(rootKey, ['decrypt-only', 'enabled']);
    const [first, second] = contents.keks as Extract<KekEntry, { wrappedKeyBase64: string }>[];
    const keks = [
      { ...first!, wrappedKeyBase64: second!.wrappedKeyBase64 },
      { ...second!, wrappedKeyBase64: first!.wrappedKeyBase64 },
    ];
    const moved = authenticate(rootKey, { ...contents, keks });
    expect(() => openKeyring(rootKey, moved)).toThrow(expect.objectContaining({ name: 'IntegrityError' }));
  });

  test('is of no use once it is closed', () => {
    const rootKey = newRootKey();
    const keyring = openKeyring(rootKey, keyringOf(rootKey, ['enabled']));
    const wrapped = wrapDek(keyring, ref, dek);
    keyring.close();
    expect(() => wrapDek(keyring, ref, dek)).toThrow('destroyed');
    expect(() => unwrapDek(keyring, ref, wrapped)).toThrow('destroyed');
  });
});

describe('wrapping', () => {
  const rootKey = newRootKey();
  const before = openKeyring(rootKey, keyringOf(rootKey, ['decrypt-only', 'enabled']));
  const after = openKeyring(rootKey, keyringOf(rootKey, ['destroyed', 'decrypt-only', 'enabled']));

  test('takes the newest KEK and no other', () => {
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
    const damage = { rule: 'missing-kek', suspicious: 'integrity_failure' };
    expect(() => unwrapDek(after, ref, { ...wrapped, kekVersion: 1 })).toThrow(
      expect.objectContaining({ ...damage, code: 'gone', message: 'KEK version 1 was destroyed' }),
    );
    expect(() => unwrapDek(after, ref, { ...wrapped, kekVersion: 9 })).toThrow(
      expect.objectContaining({ ...damage, code: 'not_found', message: 'KEK version 9 does not exist' }),
    );
  });

  test('a DEK that is rewrapped is under the newest KEK, and the same DEK', () => {
    const rewrapped = rewrapDek(after, ref, wrapDek(before, ref, dek));
    expect(rewrapped.kekVersion).toBe(3);
    expect([...unwrapDek(after, ref, rewrapped)]).toEqual([...dek]);
  });
});

describe('the KEKs', () => {
  const rootKey = newRootKey();

  test('get a new one, which alone wraps, and what the older ones wrapped still opens', () => {
    const before = openKeyring(rootKey, keyringOf(rootKey, ['enabled']));
    const wrapped = wrapDek(before, ref, dek);
    const keks = withNewKek(before.document.keks, newKek(rootKey, { version: 2, createdAt }));
    const after = openKeyring(rootKey, nextDocument(before, { keks }, [record]));
    expect(after.document.generation).toBe(2);
    expect(kekVersions(after.document).map(({ state }) => state)).toEqual(['decrypt-only', 'enabled']);
    expect(wrapDek(after, ref, dek).kekVersion).toBe(2);
    expect([...unwrapDek(after, ref, wrapped)]).toEqual([...dek]);
  });

  test('lose one for good when it is destroyed: its bytes are in the document no more', () => {
    const { keks } = keyringOf(rootKey, ['decrypt-only', 'enabled']);
    const [destroyed] = withoutKek(keks, 1)!;
    expect(destroyed).toEqual({ version: 1, state: 'destroyed', createdAt });
    expect(withoutKek(withoutKek(keks, 1)!, 1)).toBeUndefined();
    expect(() => withoutKek(keks, 2)).toThrow(expect.objectContaining({ code: 'conflict' }));
    expect(() => withoutKek(keks, 3)).toThrow(expect.objectContaining({ code: 'not_found' }));
  });
});

test('a root key that is wrapped for one seal does not open as that of another', () => {
  const [rootKey, sealKey] = [newRootKey(), newRootKey()];
  const entry = keyringOf(rootKey, ['enabled'], sealKey).seals[0]!;
  expect([...unwrapRootKey(sealKey, entry).bytes()]).toEqual([...rootKey.bytes()]);
  expect(() => unwrapRootKey(sealKey, { ...entry, id: uuidv7(1) })).toThrow(
    expect.objectContaining({ name: 'IntegrityError' }),
  );
  expect(() => unwrapRootKey(newRootKey(), entry)).toThrow(expect.objectContaining({ name: 'IntegrityError' }));
});

function newRootKey() {
  return toKey(ONLY_VERSION, randomKey());
}

// KEKs that are the same in every keyring of one root key, as they are over the years.
function keyringOf(
  rootKey: ReturnType<typeof newRootKey>,
  states: KekEntry['state'][],
  sealKey = newRootKey(),
): KeyringDocument {
  const keks = states.map((state, index): KekEntry => {
    const version = index + 1;
    if (state === 'destroyed') return { version, state, createdAt };
    const id = `${Buffer.from(rootKey.bytes()).toString('hex')} ${version}`;
    const kek = keysOf.get(id) ?? newKek(rootKey, { version, createdAt });
    keysOf.set(id, kek);
    return { ...kek, state } as KekEntry;
  });
  const id = uuidv7(0);
  const wrappedRootKeyBase64 = wrapRootKey(sealKey, rootKey, id);
  const seals = [{ type: 'file' as const, id, createdAt, wrappedRootKeyBase64 }];
  return authenticate(rootKey, { format: 1, generation: 1, seals, keks, records: [record] });
}

function opens(rootKey: ReturnType<typeof newRootKey>, bytes: Buffer): boolean {
  try {
    openKeyring(rootKey, parseDocument(bytes.toString()));
    return true;
  } catch {
    return false;
  }
}
