import type * as events from '@cardea/contracts/events';
import { call } from '../call.ts';
import type { QueryOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';

const calls = {
  ofVault: call<typeof events.listEvents>('GET', '/vaults/{vault}/events'),
  ofSystem: call<typeof events.listSystemEvents>('GET', '/events'),
};

type Filters = ListOptions & Pick<QueryOf<typeof events.listEvents>, 'kind'>;

/** What owners and admins should know, the newest first. */
export function eventCalls(sender: Sender) {
  return {
    /** For the owners of a vault. */
    ofVault: (vault: string, { kind, ...options }: Filters = {}) =>
      listOf(sender, calls.ofVault, { params: { vault }, query: { kind } }, options),

    /** For admins. */
    ofSystem: ({ kind, ...options }: Filters = {}) => listOf(sender, calls.ofSystem, { query: { kind } }, options),
  };
}
