import { AppError } from '@cardea/contracts/errors';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import { dekContext } from '@cardea/crypto/context';
import { IntegrityError, open, seal } from '@cardea/crypto/envelope';
import type { Keyring } from './keyring.ts';

const DEK_BYTES = 32;

/** Wraps a DEK of 32 bytes under the newest KEK. @throws AppError `invalid_request` for another length */
export function wrapDek(keyring: Keyring, ref: DekRef, dek: Uint8Array): WrappedDek {
  if (dek.length !== DEK_BYTES) throw new AppError('invalid_request', `a DEK has ${DEK_BYTES} bytes`);
  const kek = keyring.newest();
  return { bytes: seal(kek, dek, dekContext({ ...ref, kekVersion: kek.version })), kekVersion: kek.version };
}

/**
 * The DEK, in memory of its own that the caller overwrites.
 * @throws AppError `access_denied` if it is not the one that `ref` and `kekVersion` name, `gone` if its KEK was
 * destroyed, `not_found` if its KEK never existed; all three are damage or an attack
 */
export function unwrapDek(keyring: Keyring, ref: DekRef, { bytes, kekVersion }: WrappedDek): Uint8Array {
  const kek = keyring.find(kekVersion);
  if (!kek) throw noSuchKek(keyring, kekVersion);
  try {
    // `open` also refuses an envelope whose header names another version than the KEK has.
    return open(kek, bytes, dekContext({ ...ref, kekVersion }));
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new AppError('access_denied', 'the wrapped DEK is not the one that is named', {
      cause,
      rule: 'dek-context',
      suspicious: 'wrapped_dek_mismatch',
    });
  }
}

/** Wraps a wrapped DEK under the newest KEK. The DEK itself never leaves this function. @throws as `unwrapDek` */
export function rewrapDek(keyring: Keyring, ref: DekRef, wrapped: WrappedDek): WrappedDek {
  const dek = unwrapDek(keyring, ref, wrapped);
  try {
    return wrapDek(keyring, ref, dek);
  } finally {
    dek.fill(0);
  }
}

// A KEK is destroyed only once it wraps no DEK any more, so a DEK that names it is damage.
function noSuchKek({ document }: Keyring, version: number): AppError {
  const damage = { rule: 'missing-kek', suspicious: 'integrity_failure' } as const;
  const wasThere = document.keks.some((kek) => kek.version === version);
  if (wasThere) return new AppError('gone', `KEK version ${version} was destroyed`, damage);
  return new AppError('not_found', `KEK version ${version} does not exist`, damage);
}
