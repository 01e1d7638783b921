import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PlainName, Text, Time } from './names.ts';

export const VaultDescription = Text.max(1024);

export const Vault = z.strictObject({
  id: z.uuid(),
  name: PlainName,
  description: VaultDescription,
  createdAt: Time,
});

export type Vault = z.output<typeof Vault>;

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
  body: z.strictObject({ name: PlainName, description: VaultDescription.default('') }),
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
