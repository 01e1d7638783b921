import type * as auth from '@cardea/contracts/identity/auth';
import { call } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { SignInInput } from '../session.ts';
import type { Tokens } from '../tokens.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  signOut: call<typeof auth.logout>('POST', '/auth/logout', true),
  me: call<typeof auth.readMe>('GET', '/auth/me'),
  changePassword: call<typeof auth.changePassword>('POST', '/auth/password'),
  setUpTotp: call<typeof auth.setUpTotp>('POST', '/auth/totp'),
  confirmTotp: call<typeof auth.confirmTotp>('POST', '/auth/totp:confirm'),
  disableTotp: call<typeof auth.disableTotp>('POST', '/auth/totp:disable'),
  removeTotp: call<typeof auth.removeTotp>('DELETE', '/auth/totp'),
  sessions: call<typeof auth.listSessions>('GET', '/auth/sessions'),
  endSession: call<typeof auth.endSession>('DELETE', '/auth/sessions/{id}'),
};

/** The caller's own account. */
export function authCalls(sender: Sender, tokens: Tokens) {
  return {
    /** Signs a user in, and keeps the session in the store of this client. Every failure has the same message. */
    signIn: (input: SignInInput) => tokens.signIn(input),

    /** Ends the session at the server and forgets it here. */
    async signOut(options?: CallOptions) {
      await sender.body(calls.signOut, {}, options);
      await tokens.forgetSession();
    },

    /** The caller: name, role, grants. */
    me: (options?: CallOptions) => sender.body(calls.me, {}, options),

    /** Changes the password. The caller's other sessions end. */
    changePassword: (currentPassword: string, newPassword: string, options?: CallOptions) =>
      sender.body(calls.changePassword, { body: { currentPassword, newPassword } }, options),

    /** Makes a secret for TOTP. It counts once `confirmTotp` has confirmed it. */
    setUpTotp: (currentPassword: string, options?: CallOptions) =>
      sender.body(calls.setUpTotp, { body: { currentPassword } }, options),

    /** Turns TOTP on. The recovery codes are shown once. */
    confirmTotp: (otp: string, options?: CallOptions) => sender.body(calls.confirmTotp, { body: { otp } }, options),

    disableTotp: (otp: string, options?: CallOptions) => sender.body(calls.disableTotp, { body: { otp } }, options),

    /** Deletes a secret for TOTP that no code has confirmed. */
    removeTotp: (options?: CallOptions) => sender.body(calls.removeTotp, {}, options),

    /** The caller's sessions, the newest first. */
    sessions: (options?: ListOptions) => listOf(sender, calls.sessions, {}, options),

    endSession: (id: string, options?: CallOptions) => sender.body(calls.endSession, { params: { id } }, options),
  };
}
