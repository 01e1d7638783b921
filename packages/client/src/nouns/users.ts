import type * as users from '@cardea/contracts/identity/users';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  create: call<typeof users.createUser>('POST', '/users'),
  list: call<typeof users.listUsers>('GET', '/users'),
  get: call<typeof users.readUser>('GET', '/users/{username}'),
  change: call<typeof users.changeUser>('PATCH', '/users/{username}'),
  delete: call<typeof users.deleteUser>('DELETE', '/users/{username}'),
  resetPassword: call<typeof users.resetPassword>('POST', '/users/{username}:resetPassword'),
  unlock: call<typeof users.unlockUser>('POST', '/users/{username}:unlock', true),
  revokeSessions: call<typeof users.revokeSessions>('POST', '/users/{username}:revokeSessions', true),
};

/** Users, for admins. */
export function userCalls(sender: Sender) {
  return {
    /** Without a password, the answer has a one-time password, which is shown once. */
    create: (user: BodyOf<typeof users.createUser>, options?: CallOptions) =>
      sender.body(calls.create, { body: user }, options),

    list: (options?: ListOptions) => listOf(sender, calls.list, {}, options),

    get: (username: string, options?: CallOptions) => sender.body(calls.get, { params: { username } }, options),

    change: (username: string, changes: BodyOf<typeof users.changeUser>, options?: CallOptions) =>
      sender.body(calls.change, { params: { username }, body: changes }, options),

    /** `successor` gets the vaults of which the user is the only owner. */
    delete: (username: string, { successor, ...options }: CallOptions & { successor?: string } = {}) =>
      sender.body(calls.delete, { params: { username }, query: { successor } }, options),

    /** Makes a one-time password, ends the sessions and turns TOTP off. */
    resetPassword: (username: string, options?: CallOptions) =>
      sender.body(calls.resetPassword, { params: { username } }, options),

    unlock: (username: string, options?: CallOptions) => sender.body(calls.unlock, { params: { username } }, options),

    revokeSessions: (username: string, options?: CallOptions) =>
      sender.body(calls.revokeSessions, { params: { username } }, options),
  };
}
