import type * as seals from '@cardea/contracts/seals';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  list: call<typeof seals.listSeals>('GET', '/seals'),
  add: call<typeof seals.addSeal>('POST', '/seals'),
  remove: call<typeof seals.removeSeal>('DELETE', '/seals/{id}'),
  unfreeze: call<typeof seals.unfreezeUnwraps>('POST', '/seals:unfreeze'),
};

/** What opens the keyring of kek-service. */
export function sealCalls(sender: Sender) {
  return {
    async list(options?: CallOptions) {
      const { items } = await sender.body(calls.list, {}, options);
      return items;
    },

    /** Shares, if the seal has any, are shown once. */
    add: (seal: BodyOf<typeof seals.addSeal>, options?: CallOptions) => sender.body(calls.add, { body: seal }, options),

    remove: (id: string, options?: CallOptions) => sender.body(calls.remove, { params: { id } }, options),

    /** Lets a service unwrap DEKs again after kek-service froze it. */
    unfreeze: (body: BodyOf<typeof seals.unfreezeUnwraps>, options?: CallOptions) =>
      sender.body(calls.unfreeze, { body }, options),
  };
}
