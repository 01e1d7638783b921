import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Base64, Time, WholeNumber } from './names.ts';

/** Names a DEK. The wrapping is bound to this name: a wrapped DEK does not open under another name. */
export const DekRef = z.strictObject({
  vaultId: z.uuid(),
  dekVersion: z.int().positive(),
});

export type DekRef = z.output<typeof DekRef>;

/** The DEK chain for the system's own values. No vault can have this id: every new UUIDv7 sorts after it. */
export const SYSTEM_VAULT_ID = '00000000-0000-7000-8000-000000000001';

const Dek = Base64.length(44);
const WrappedDek = z.strictObject({
  wrappedDekBase64: Base64.max(512),
  kekVersion: z.int().positive(),
});

/** The most DEKs in one call. */
export const DEKS_AT_ONCE_MAX = 256;

const batch = <S extends z.ZodType>(item: S) => z.strictObject({ items: z.array(item).min(1).max(DEKS_AT_ONCE_MAX) });

const common = {
  method: 'POST',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
} as const;

export const wrapDeks = endpoint({
  ...common,
  path: '/v1/wrap',
  action: 'dek.wrap',
  summary: 'Wrap DEKs under the newest KEK.',
  body: batch(z.strictObject({ ...DekRef.shape, dekBase64: Dek })),
  response: batch(WrappedDek),
});

export const unwrapDeks = endpoint({
  ...common,
  path: '/v1/unwrap',
  action: 'dek.unwrap',
  summary: 'Unwrap DEKs.',
  body: batch(z.strictObject({ ...DekRef.shape, ...WrappedDek.shape })),
  response: batch(z.strictObject({ dekBase64: Dek })),
});

export const rewrapDeks = endpoint({
  ...common,
  path: '/v1/rewrap',
  action: 'dek.rewrap',
  summary: 'Wrap DEKs again under the newest KEK, without showing them.',
  body: batch(z.strictObject({ ...DekRef.shape, ...WrappedDek.shape })),
  response: batch(WrappedDek),
});

const KekVersion = z.strictObject({
  version: z.int().positive(),
  /** Only the newest KEK is enabled, and only an enabled KEK wraps. A destroyed KEK unwraps nothing. */
  state: z.enum(['enabled', 'decrypt-only', 'destroyed']),
  createdAt: Time,
  /** The id of the request that made it; null for the first KEK of a keyring. */
  requestId: z.uuid().nullable(),
});

export type KekVersion = z.output<typeof KekVersion>;

export const rotateKek = endpoint({
  ...common,
  path: '/v1/keks:rotate',
  action: 'kek.rotate',
  summary: 'Make a new KEK. A repeated request gets the same version.',
  body: z.strictObject({ requestId: z.uuid() }),
  response: z.strictObject({ version: z.int().positive() }),
});

export const listKeks = endpoint({
  ...common,
  method: 'GET',
  path: '/v1/keks',
  action: 'kek.list',
  summary: 'List the versions of the KEK, the oldest first. No key is shown.',
  body: z.undefined(),
  response: z.strictObject({ items: z.array(KekVersion) }),
});

export const destroyKek = endpoint({
  ...common,
  path: '/v1/keks/{version}:destroy',
  action: 'kek.destroy',
  summary: 'Destroy a KEK that is not the newest. A DEK that it wraps can never be unwrapped again.',
  params: z.object({ version: WholeNumber({ min: 1, max: 0xffff_ffff }) }),
  body: z.strictObject({}),
  response: z.strictObject({}),
});
