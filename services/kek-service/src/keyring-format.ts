import { parseBase64 } from '@cardea/crypto/encoding';
import { z } from 'zod';

// Base64 has spare bits before its padding: without this, another spelling of the same bytes would pass.
const Base64 = z.base64().refine((text) => parseBase64(text) !== undefined, 'spare bits');

// Read before anything is authenticated, so bounded: a changed file must not make a start take all memory.
const Cost = z.strictObject({
  memoryKib: z.int().min(8).max(1_048_576),
  passes: z.int().min(1).max(16),
  parallelism: z.int().min(1).max(16),
});

const SealDescription = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('file') }),
  z.strictObject({ type: z.literal('passphrase'), saltBase64: Base64.length(24), cost: Cost }),
]);

const kek = { version: z.int().min(1).max(0xffff_ffff), createdAt: z.iso.datetime() };

const KekEntry = z.discriminatedUnion('state', [
  z.strictObject({ ...kek, state: z.enum(['enabled', 'decrypt-only']), wrappedKeyBase64: Base64 }),
  z.strictObject({ ...kek, state: z.literal('destroyed') }),
]);

/** What `keyring.json` holds. The KEKs are sealed under the root key, and `mac` authenticates all the rest under it. */
export const KeyringFile = z.strictObject({
  format: z.literal(1),
  seal: SealDescription,
  keks: z
    .array(KekEntry)
    .refine((keks) => keks.every((kek, at) => at === 0 || kek.version > keks[at - 1]!.version), 'versions must ascend')
    .refine((keks) => keks.some((kek) => kek.state === 'enabled'), 'one must be enabled'),
  mac: Base64,
});

export type KeyringFile = z.output<typeof KeyringFile>;
export type KekEntry = z.output<typeof KekEntry>;
/** How the root key comes to be, and what is needed for it beside the secret. */
export type SealDescription = z.output<typeof SealDescription>;
export type PassphraseSeal = Extract<SealDescription, { type: 'passphrase' }>;
