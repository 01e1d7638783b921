import { z } from 'zod';
import type { AuditFields } from './audit-changes.ts';
import { endpoint } from './endpoint.ts';
import { Time } from './names.ts';
import { Reason } from './reason.ts';

const common = {
  method: 'POST',
  auth: 'peer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
} as const;

/** How a seal keeps the root key. */
const SealType = z.enum(['file', 'passphrase', 'shamir', 'pkcs11']);

/** The lengths of a passphrase, in characters. */
export const PASSPHRASE_CHARACTERS = { min: 12, max: 1_024 } as const;
/** How many shares a seal has at most. */
export const SHARES_MAX = 64;

const Label = z.string().min(1).max(128);

/** What may be told of a seal. */
export const Seal = z.strictObject({
  id: z.uuid(),
  type: SealType,
  createdAt: Time,
  /** Of a seal by shares: how many there are, and how many open it. */
  shares: z.int().optional(),
  threshold: z.int().optional(),
  /** Of a seal by a token. */
  tokenLabel: Label.optional(),
  keyLabel: Label.optional(),
});

export type Seal = z.output<typeof Seal>;

/** The fields of a seal that an audit record shows. */
export function sealFields({ type, shares, threshold, tokenLabel, keyLabel }: Seal): AuditFields {
  return { type, shares, threshold, tokenLabel, keyLabel };
}

/** What a seal is made from. */
export const SealRequest = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('file') }),
  z.strictObject({
    type: z.literal('passphrase'),
    passphrase: z.string().min(PASSPHRASE_CHARACTERS.min).max(PASSPHRASE_CHARACTERS.max),
  }),
  z
    .strictObject({
      type: z.literal('shamir'),
      shares: z.int().min(2).max(SHARES_MAX),
      threshold: z.int().min(2).max(SHARES_MAX),
    })
    .refine(({ shares, threshold }) => threshold <= shares, {
      message: 'must not be more than there are shares',
      path: ['threshold'],
    }),
  z.strictObject({ type: z.literal('pkcs11'), tokenLabel: Label, keyLabel: Label }),
]);

export type SealRequest = z.output<typeof SealRequest>;

/** A new seal. Its shares, if it has any, are never shown again. */
export const NewSeal = Seal.extend({ shareTexts: z.array(z.string()).optional() });

export type NewSeal = z.output<typeof NewSeal>;

/** How many shares of a seal were given, of those that open it. */
const Progress = z.strictObject({ sealId: z.uuid(), needed: z.int(), given: z.int() });

export type Progress = z.output<typeof Progress>;

export const unseal = endpoint({
  ...common,
  path: '/v1/unseal',
  action: 'seal.open',
  summary: 'Open the keyring; if it is open, prove that a passphrase or enough shares would open it.',
  body: z.union([
    z.strictObject({ passphrase: z.string().min(1).max(PASSPHRASE_CHARACTERS.max) }),
    z.strictObject({ share: z.string().min(1).max(512) }),
  ]),
  response: z.strictObject({ sealed: z.boolean(), progress: Progress.optional() }),
});

export const seal = endpoint({
  ...common,
  path: '/v1/seal',
  action: 'seal.close',
  summary: 'Forget the KEKs, and the shares that were given, until the next unseal.',
  body: z.strictObject({}),
  response: z.strictObject({ sealed: z.boolean() }),
});

export const sealStatus = endpoint({
  ...common,
  method: 'GET',
  path: '/v1/seal-status',
  action: 'seal.read',
  summary: 'Whether the keyring is open, by which seals it opens, and whose unwraps are frozen.',
  body: z.undefined(),
  response: z.strictObject({
    sealed: z.boolean(),
    seals: z.array(z.strictObject({ id: z.uuid(), type: SealType })),
    progress: z.array(Progress),
    frozen: z.array(z.string()),
  }),
});

/** One line of the answer to `followSeal`. */
export const SealEvent = z.strictObject({
  sealed: z.boolean(),
  /** How many vaults this follower may unwrap DEKs of in a minute: a share of what its service may. */
  unwrapVaultsPerMinute: z.int().positive(),
});

export const followSeal = endpoint({
  ...common,
  method: 'GET',
  path: '/v1/seal-events',
  action: 'seal.follow',
  summary: 'An answer without an end: a line of JSON at once, at each change, and each second.',
  body: z.undefined(),
  response: z.string(),
});

export const listSeals = endpoint({
  ...common,
  method: 'GET',
  path: '/v1/seals',
  action: 'seal.list',
  summary: 'The seals, the oldest first.',
  body: z.undefined(),
  response: z.strictObject({ items: z.array(Seal) }),
});

export const addSeal = endpoint({
  ...common,
  path: '/v1/seals',
  action: 'seal.add',
  summary: 'Add a seal to the open keyring. The caller chooses its id.',
  statuses: [201],
  body: z.strictObject({ id: z.uuid(), seal: SealRequest }),
  response: NewSeal,
});

export const removeSeal = endpoint({
  ...common,
  method: 'DELETE',
  path: '/v1/seals/{id}',
  action: 'seal.remove',
  summary: 'Remove a seal. Another one must have opened the keyring since kek-service started.',
  statuses: [204],
  params: z.object({ id: z.uuid() }),
  body: z.undefined(),
  response: z.undefined(),
});

export const unfreezeUnwraps = endpoint({
  ...common,
  path: '/v1/unwraps:unfreeze',
  action: 'unwrap.unfreeze',
  summary: 'Let a service unwrap again that went beyond its budget.',
  body: z.strictObject({ peer: z.enum(['api-service', 'worker']), reason: Reason }),
  response: z.strictObject({}),
});
