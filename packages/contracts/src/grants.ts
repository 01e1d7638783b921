import { z } from 'zod';
import { Cidr } from './cidr.ts';
import { endpoint } from './endpoint.ts';
import { KeyName, NOT_BOTH_EXPIRIES, Page, PageOf, PlainName, SecretName, SecretPrefix, Time } from './names.ts';
import { TtlSeconds, checkExpiry } from './secrets/secret-shapes.ts';
import { VaultParams } from './vaults.ts';

/** The rights on the secrets of a vault. The rights on its keys are independent. */
export const secretVerbs = ['list', 'read', 'write', 'delete', 'destroy', 'manage'] as const;
export const keyVerbs = [
  'list',
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'rotate',
  'import',
  'delete',
  'export',
  'manage',
] as const;

export type SecretVerb = (typeof secretVerbs)[number];
export type KeyVerb = (typeof keyVerbs)[number];

/** `user:alice`, `application:ci`. */
export const Principal = z
  .string()
  .regex(/^(user|application):[a-z0-9][a-z0-9._-]{0,62}$/, 'must be user:<username> or application:<name>');

const verbs = <const V extends readonly [string, ...string[]]>(all: V) =>
  z
    .array(z.enum(all))
    .max(all.length)
    .refine((list) => new Set(list).size === list.length, 'must not name a verb twice');

export const GrantInput = z
  .strictObject({
    secrets: verbs(secretVerbs).default([]),
    keys: verbs(keyVerbs).default([]),
    /**
     * An owner may do everything in the vault and manages its grants, also its own. So only users can be owners, and their
     * grants have no limits: an owner could lift them.
     */
    owner: z.boolean().default(false),
    /** Limits the rights on secrets to this name and those under it: `apps/ci` and `apps/ci/token`, but not `apps/ci2`. */
    pathPrefix: SecretPrefix.optional(),
    /** Limits the rights on keys to names that begin so: `ci-` covers `ci-tokens`. Names of keys have no levels. */
    keyPrefix: KeyName.optional(),
    expiresAt: Time.optional(),
    /** The expiry, counted from now. */
    ttlSeconds: TtlSeconds.optional(),
    allowedCidrs: z.array(Cidr).max(64).default([]),
  })
  .superRefine(checkExpiry)
  .superRefine((grant, ctx) => {
    if (!grant.owner) return;
    const { pathPrefix, keyPrefix, expiresAt, ttlSeconds, allowedCidrs } = grant;
    const limits = {
      pathPrefix,
      keyPrefix,
      expiresAt,
      ttlSeconds,
      allowedCidrs: allowedCidrs.length === 0 ? undefined : allowedCidrs,
    };
    for (const [limit, value] of Object.entries(limits)) {
      if (value !== undefined) ctx.addIssue({ code: 'custom', path: [limit], message: 'cannot limit an owner' });
    }
  })
  .meta({ override: NOT_BOTH_EXPIRIES });

export type GrantInput = z.output<typeof GrantInput>;

export const Grant = z.strictObject({
  principal: Principal,
  secrets: z.array(z.enum(secretVerbs)),
  keys: z.array(z.enum(keyVerbs)),
  owner: z.boolean(),
  pathPrefix: SecretName.optional(),
  keyPrefix: KeyName.optional(),
  expiresAt: Time.optional(),
  allowedCidrs: z.array(z.string()),
});

const GrantParams = z.object({ vault: PlainName, principal: Principal });
const common = { auth: 'bearer', query: z.strictObject({}) } as const;

export const listGrants = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/vaults/{vault}/grants',
  action: 'grant.list',
  summary: 'List the grants in a vault by principal.',
  statuses: [200],
  params: VaultParams,
  query: Page,
  body: z.undefined(),
  response: PageOf(Grant),
});

export const readGrant = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/vaults/{vault}/grants/{*principal}',
  action: 'grant.read',
  summary: 'Read the grant of a principal.',
  statuses: [200],
  params: GrantParams,
  body: z.undefined(),
  response: Grant,
});

export const putGrant = endpoint({
  ...common,
  method: 'PUT',
  path: '/api/v1/vaults/{vault}/grants/{*principal}',
  action: 'grant.write',
  summary:
    'Write the grant of a principal and replace the old one. Rights on secrets and on keys are independent. An empty list grants nothing. A ceo cannot have a grant. The grant of an owner takes no pathPrefix, keyPrefix, expiresAt, ttlSeconds or allowedCidrs.',
  statuses: [200, 201],
  params: GrantParams,
  body: GrantInput,
  response: Grant,
});

export const deleteGrant = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/vaults/{vault}/grants/{*principal}',
  action: 'grant.delete',
  summary: 'Delete a grant.',
  statuses: [204],
  params: GrantParams,
  body: z.undefined(),
  response: z.undefined(),
});

/** The actions that a grant decides about. */
export const vaultActions = [
  'vault.read',
  'vault.manage',
  'vault.events',
  'vault.audit',
  'vault.delete',
  ...secretVerbs.map((verb) => `secret.${verb}` as const),
  ...keyVerbs.map((verb) => `key.${verb}` as const),
] as const;

export type VaultAction = (typeof vaultActions)[number];

export const explainAccess = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/access:explain',
  action: 'access.explain',
  summary:
    'Tell whether a principal may do something in a vault, and which rule decides. An owner asks about principals with a ' +
    'grant in the vault, and an admin about all. Any other answer is 404.',
  statuses: [200],
  params: z.undefined(),
  body: z.strictObject({
    principal: Principal,
    vault: PlainName,
    action: z.enum(vaultActions as unknown as [VaultAction, ...VaultAction[]]),
    name: SecretName.optional(),
    /** The address that the request would come from. If it is not given, networks are not checked. */
    ip: z.union([z.ipv4(), z.ipv6()], 'must be an IPv4 or IPv6 address').optional(),
  }),
  response: z.strictObject({ allowed: z.boolean(), visible: z.boolean(), rule: z.string() }),
});
