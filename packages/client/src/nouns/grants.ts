import type * as grants from '@cardea/contracts/grants';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  list: call<typeof grants.listGrants>('GET', '/vaults/{vault}/grants'),
  get: call<typeof grants.readGrant>('GET', '/vaults/{vault}/grants/{*principal}'),
  put: call<typeof grants.putGrant>('PUT', '/vaults/{vault}/grants/{*principal}'),
  delete: call<typeof grants.deleteGrant>('DELETE', '/vaults/{vault}/grants/{*principal}'),
  // It asks and changes nothing.
  explain: call<typeof grants.explainAccess>('POST', '/access:explain', true),
};

/** What a user or an application may do in a vault. A principal is `user:alice` or `application:ci`. */
export function grantCalls(sender: Sender) {
  return {
    list: (vault: string, options?: ListOptions) => listOf(sender, calls.list, { params: { vault } }, options),

    get: (vault: string, principal: string, options?: CallOptions) =>
      sender.body(calls.get, { params: { vault, principal } }, options),

    /** Writes the grant of a principal and replaces the old one. */
    put: (vault: string, principal: string, grant: BodyOf<typeof grants.putGrant>, options?: CallOptions) =>
      sender.body(calls.put, { params: { vault, principal }, body: grant }, options),

    delete: (vault: string, principal: string, options?: CallOptions) =>
      sender.body(calls.delete, { params: { vault, principal } }, options),

    /** Whether a principal may do something in a vault, and which rule decides. */
    explain: (question: BodyOf<typeof grants.explainAccess>, options?: CallOptions) =>
      sender.body(calls.explain, { body: question }, options),
  };
}
