import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PlainName, Text, Time } from './names.ts';

export const VaultDescription = Text.max(1024);

/** How many versions of a secret may be kept. */
export const VERSIONS_MAX = 1_000;

export const MaxVersions = z.int().min(1).max(VERSIONS_MAX);

export const Vault = z.strictObject({
  id: z.uuid(),
  name: PlainName,
  description: VaultDescription,
  /** How many versions of a secret are kept that does not say so itself. */
  maxVersions: MaxVersions,
  createdAt: Time,
});

export type Vault = z.output<typeof Vault>;

// Clients that speak HashiCorp Vault's interface take these for parts of it: a vault called so could not be reached by them.
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
  summary: 'Make a vault with a data encryption key of its own. The creator owns it.',
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
  summary: 'The vaults the caller may see, by name.',
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
  summary: 'One vault.',
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
  summary: 'Change what is given. Fewer versions count from the next write of each secret.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: z.strictObject({}),
  body: z.strictObject({ description: VaultDescription.optional(), maxVersions: MaxVersions.optional() }),
  response: Vault,
});

export const deleteVault = endpoint({
  method: 'DELETE',
  path: '/api/v1/vaults/{vault}',
  action: 'vault.delete',
  summary:
    'Delete a vault with its keys, so that nobody can open what it held. One that holds secrets, in the trash or not, is deleted with `recursive=true` only. There is no way back.',
  auth: 'bearer',
  statuses: [204],
  params: VaultParams,
  query: z.strictObject({ recursive: z.enum(['true', 'false']).default('false') }),
  body: z.undefined(),
  response: z.undefined(),
});
