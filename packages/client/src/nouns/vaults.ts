import type * as vaults from '@cardea/contracts/vaults';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  create: call<typeof vaults.createVault>('POST', '/vaults'),
  list: call<typeof vaults.listVaults>('GET', '/vaults'),
  get: call<typeof vaults.readVault>('GET', '/vaults/{vault}'),
  change: call<typeof vaults.changeVault>('PATCH', '/vaults/{vault}'),
  delete: call<typeof vaults.deleteVault>('DELETE', '/vaults/{vault}'),
};

export function vaultCalls(sender: Sender) {
  return {
    /** The caller becomes the owner. */
    create: (vault: BodyOf<typeof vaults.createVault>, options?: CallOptions) =>
      sender.body(calls.create, { body: vault }, options),

    /** The vaults that the caller may see, by name. */
    list: (options?: ListOptions) => listOf(sender, calls.list, {}, options),

    get: (vault: string, options?: CallOptions) => sender.body(calls.get, { params: { vault } }, options),

    change: (vault: string, changes: BodyOf<typeof vaults.changeVault>, options?: CallOptions) =>
      sender.body(calls.change, { params: { vault }, body: changes }, options),

    /** Deletes a vault for ever. With `recursive`, also its secrets and keys. */
    delete: (vault: string, { recursive, ...options }: CallOptions & { recursive?: boolean } = {}) =>
      sender.body(calls.delete, { params: { vault }, query: recursive === true ? { recursive: 'true' } : {} }, options),
  };
}
