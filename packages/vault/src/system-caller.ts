import type { Caller } from '@cardea/contracts/caller';

/** Cardea itself, when it acts without a request: at its start, or when something is due. */
export const systemCaller: Caller = {
  actor: { id: 'cardea', type: 'service' },
  role: 'admin',
  source: {},
  requestId: 'start',
};
