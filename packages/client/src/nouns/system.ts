import type { readStatus } from '@cardea/contracts/status';
import type * as system from '@cardea/contracts/system';
import { call } from '../call.ts';
import type { Call } from '../call.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  // The one path outside of the interface.
  health: { method: 'GET', path: '/healthz', repeats: true } as Call<typeof system.readHealth>,
  openApi: call<typeof system.readOpenApi>('GET', '/openapi.json'),
  status: call<typeof readStatus>('GET', '/status'),
};

/** The system as a whole. */
export function systemCalls(sender: Sender) {
  return {
    /** Whether Cardea answers. Needs no sign-in. */
    health: (options?: CallOptions) => sender.open(calls.health, {}, options),

    /** This interface as an OpenAPI 3.1 document. Needs no sign-in. */
    openApi: (options?: CallOptions) => sender.open(calls.openApi, {}, options),

    /** Whether keys, due work and the audit log are on time. For admins and ceos. */
    status: (options?: CallOptions) => sender.body(calls.status, {}, options),
  };
}
