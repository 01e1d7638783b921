import type * as rotation from '@cardea/contracts/rotation';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const ONE = '/rotations/{id}';

const calls = {
  start: call<typeof rotation.startRotation>('POST', '/rotations'),
  list: call<typeof rotation.listRotations>('GET', '/rotations'),
  get: call<typeof rotation.readRotation>('GET', ONE),
  pause: call<typeof rotation.pauseRotation>('POST', `${ONE}:pause`),
  resume: call<typeof rotation.resumeRotation>('POST', `${ONE}:resume`),
  cancel: call<typeof rotation.cancelRotation>('POST', `${ONE}:cancel`),
  keks: call<typeof rotation.listKekVersions>('GET', '/keks'),
  destroyKek: call<typeof rotation.destroyKekVersion>('POST', '/keks/{version}:destroy'),
};

/** Rotations of DEKs and of the KEK. */
export function rotationCalls(sender: Sender) {
  const steer = (verb: 'pause' | 'resume' | 'cancel') => (id: string, options?: CallOptions) =>
    sender.body(calls[verb], { params: { id } }, options);
  return {
    /** Starts a rotation, and answers its id at once. */
    start: (what: BodyOf<typeof rotation.startRotation>, options?: CallOptions) =>
      sender.body(calls.start, { body: what }, options),

    /** The newest first. */
    list: (options?: ListOptions) => listOf(sender, calls.list, {}, options),

    /** How far a rotation is. */
    get: (id: string, options?: CallOptions) => sender.body(calls.get, { params: { id } }, options),

    pause: steer('pause'),
    resume: steer('resume'),
    cancel: steer('cancel'),

    /** The versions of the KEK, the oldest first. */
    async keks(options?: CallOptions) {
      const { items } = await sender.body(calls.keks, {}, options);
      return items;
    },

    /** Destroys a KEK that wraps no DEK, for ever. */
    destroyKek: (version: number, options?: CallOptions) =>
      sender.body(calls.destroyKek, { params: { version } }, options),
  };
}
