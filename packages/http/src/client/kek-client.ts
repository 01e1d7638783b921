import { AppError } from '@cardea/contracts/errors';
import {
  DEKS_AT_ONCE_MAX,
  destroyKek,
  listKeks,
  rewrapDeks,
  rotateKek,
  unwrapDeks,
  wrapDeks,
} from '@cardea/contracts/kek-api';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { Keks, WrappedDek } from '@cardea/contracts/keks';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import type { Client } from './peer-client.ts';

/** Uses and rotates KEKs by calling kek-service. */
export function createKekClient(client: Client): Keks {
  return {
    async wrap(ref, dek) {
      const { items } = await client.call(wrapDeks, { body: { items: [{ ...ref, dekBase64: toBase64(dek) }] } });
      return fromWire(items[0]!);
    },
    async unwrap(ref, wrapped) {
      const item = toWire(ref, wrapped);
      const { items } = await client.call(unwrapDeks, { body: { items: [item] } }).catch(refused('unwrapped'));
      return fromBase64(items[0]!.dekBase64);
    },
    async rewrap(deks) {
      if (deks.length === 0) return [];
      if (deks.length > DEKS_AT_ONCE_MAX) throw new RangeError(`at most ${DEKS_AT_ONCE_MAX} DEKs at once`);
      const asked = deks.map(({ ref, wrapped }) => toWire(ref, wrapped));
      const { items } = await client.call(rewrapDeks, { body: { items: asked } }).catch(refused('rewrapped'));
      // If one DEK were missing, the others would shift to the wrong positions.
      if (items.length !== asked.length) throw new AppError('internal', 'kek-service has left out a DEK');
      return items.map(fromWire);
    },
    async rotate(requestId) {
      return (await client.call(rotateKek, { body: { requestId } })).version;
    },
    async list() {
      return (await client.call(listKeks, {})).items;
    },
    async destroy(version) {
      await client.call(destroyKek, { params: { version }, body: {} });
    },
  };
}

type Wire = { wrappedDekBase64: string; kekVersion: number };

function toWire(ref: DekRef, { bytes, kekVersion }: WrappedDek): DekRef & Wire {
  return { ...ref, wrappedDekBase64: toBase64(bytes), kekVersion };
}

function fromWire({ wrappedDekBase64, kekVersion }: Wire): WrappedDek {
  return { bytes: fromBase64(wrappedDekBase64), kekVersion };
}

// If kek-service refuses a DEK, the DEK is damaged or is the wrong one. That is our fault or an attack, never the
// client's fault.
function refused(what: 'unwrapped' | 'rewrapped'): (error: unknown) => never {
  return (error) => {
    throw toRefusal(error, what);
  };
}

function toRefusal(error: unknown, what: string): unknown {
  if (!(error instanceof AppError) || error.code === 'unavailable' || error.code === 'sealed') return error;
  if (error.code === 'rate_limited') {
    return new AppError('unavailable', `too many DEKs are ${what} at once`, { cause: error });
  }
  return new AppError('internal', `a DEK could not be ${what}`, {
    cause: error,
    rule: 'integrity',
    suspicious: 'integrity_failure',
  });
}
