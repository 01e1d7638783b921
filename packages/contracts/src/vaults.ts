import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PlainName, PrintableText, Time } from './names.ts';

export const VaultDescription = PrintableText({ max: 1024 });

/** The highest limit of versions. */
export const VERSIONS_MAX = 1_000;

export const MaxVersions = z.int().min(1).max(VERSIONS_MAX);

export const Vault = z.strictObject({
  id: z.uuid(),
  name: PlainName,
  /** An earlier version may have taken characters that are refused now. */
  description: z.string(),
  /** How many versions are kept of a secret that has no limit of its own. */
  maxVersions: MaxVersions,
  /** Whether everybody may read the public halves of its keys, as a JWKS. */
  publicJwks: z.boolean(),
  createdAt: Time,
});

export type Vault = z.output<typeof Vault>;

// These names have a meaning in the interface of HashiCorp Vault. Its clients could not reach a vault with such a name.
const RESERVED_NAMES = ['sys', 'auth', 'cubbyhole', 'identity'];

/** The name of a new vault. */
const NewVaultName = PlainName.refine(
  (name) => !RESERVED_NAMES.includes(name),
  `must not be one of the reserved names ${RESERVED_NAMES.join(', ')}`,
).meta({ override: { not: { enum: RESERVED_NAMES } } });

export const VaultParams = z.object({ vault: PlainName });

export const createVault = endpoint({
  method: 'POST',
  path: '/api/v1/vaults',
  action: 'vault.create',
  summary:
    'Create a vault with a data encryption key of its own. The caller becomes its owner. Names are the same for all: the ' +
    'answer is 409 for a name that is taken, also by a vault that the caller may not see.',
  auth: 'bearer',
  statuses: [201],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.strictObject({
    name: NewVaultName,
    description: VaultDescription.default(''),
    maxVersions: MaxVersions.default(10),
  }),
  response: Vault,
});

export const listVaults = endpoint({
  method: 'GET',
  path: '/api/v1/vaults',
  action: 'vault.list',
  summary: 'List the vaults that the caller may see, by name.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: Page,
  body: z.undefined(),
  response: z.strictObject({ items: z.array(Vault), nextCursor: z.string().optional() }),
});

export const readVault = endpoint({
  method: 'GET',
  path: '/api/v1/vaults/{vault}',
  action: 'vault.read',
  summary: 'Read a vault.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: z.strictObject({}),
  body: z.undefined(),
  response: Vault,
});

export const changeVault = endpoint({
  method: 'PATCH',
  path: '/api/v1/vaults/{vault}',
  action: 'vault.change',
  summary:
    'Change the given fields of a vault. A lower limit of versions applies to each secret from its next write on.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: z.strictObject({}),
  body: z.strictObject({
    description: VaultDescription.optional(),
    maxVersions: MaxVersions.optional(),
    publicJwks: z.boolean().optional(),
  }),
  response: Vault,
});

export const deleteVault = endpoint({
  method: 'DELETE',
  path: '/api/v1/vaults/{vault}',
  action: 'vault.delete',
  summary:
    'Delete a vault with its secrets and its keys. Nobody can open them after that; this cannot be undone. If the vault ' +
    'holds keys, or secrets in the trash or not, `recursive=true` is required. A protected key keeps its vault. The header ' +
    '`Cardea-Dependants` has the number of references of other vaults into this one that the caller may list, up to 1,000. ' +
    'The 409 without `recursive` says it too.',
  auth: 'bearer',
  statuses: [204],
  params: VaultParams,
  query: z.strictObject({ recursive: z.enum(['true', 'false']).default('false') }),
  body: z.undefined(),
  response: z.undefined(),
});
