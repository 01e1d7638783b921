import type { Caller } from '@cardea/contracts/caller';

/** Cardea itself, when it acts before anybody could ask it to, or because a time has come. */
export const systemCaller: Caller = {
  actor: { id: 'cardea', type: 'service' },
  role: 'admin',
  source: {},
  requestId: 'start',
};
