import { AppError } from '@cardea/contracts/errors';
import { unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import type { Keks } from '@cardea/contracts/keks';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import type { Client } from './peer-client.ts';

/** Wraps and unwraps DEKs by calling kek-service. */
export function createKekClient(client: Client): Keks {
  return {
    async wrap(ref, dek) {
      const { items } = await client.call(wrapDeks, { body: { items: [{ ...ref, dekBase64: toBase64(dek) }] } });
      const [item] = items;
      return { bytes: fromBase64(item!.wrappedDekBase64), kekVersion: item!.kekVersion };
    },
    async unwrap(ref, wrapped) {
      const item = { ...ref, wrappedDekBase64: toBase64(wrapped.bytes), kekVersion: wrapped.kekVersion };
      const { items } = await client.call(unwrapDeks, { body: { items: [item] } }).catch(refusedUnwrap);
      return fromBase64(items[0]!.dekBase64);
    },
  };
}

// Refused by kek-service, a DEK is damaged or not the one asked for: our fault or an attack, never the client's.
function refusedUnwrap(error: unknown): never {
  if (!(error instanceof AppError) || error.code === 'unavailable' || error.code === 'sealed') throw error;
  if (error.code === 'rate_limited') {
    throw new AppError('unavailable', 'too many DEKs are unwrapped at once', { cause: error });
  }
  throw new AppError('internal', 'a DEK could not be unwrapped', {
    cause: error,
    rule: 'integrity',
    suspicious: 'integrity_failure',
  });
}
