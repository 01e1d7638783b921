import { z } from 'zod';
import { roles } from '../caller.ts';
import { endpoint } from '../endpoint.ts';
import { NOT_BOTH_EXPIRIES, NewPassword, Page, PageOf, PlainName, Time } from '../names.ts';

export const User = z.strictObject({
  id: z.uuid(),
  username: PlainName,
  role: z.enum(roles),
  disabled: z.boolean(),
  locked: z.boolean(),
  totp: z.boolean(),
  mustChangePassword: z.boolean(),
  expiresAt: Time.optional(),
  createdAt: Time,
});

const UserParams = z.object({ username: PlainName });
const OneTimePassword = z.strictObject({ oneTimePassword: z.string() });
const common = { auth: 'bearer', query: z.strictObject({}) } as const;
const verb = { ...common, method: 'POST', params: UserParams, body: z.strictObject({}).optional() } as const;

/** The longest lifetime in a request: a hundred years, so that no sum overflows. */
export const TTL_SECONDS_MAX = 3_155_760_000;

export const createUser = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/users',
  action: 'user.create',
  summary:
    'Create a user. If no password is given, Cardea makes a one-time password and shows it once. The user must change it at the first sign-in.',
  statuses: [201],
  params: z.undefined(),
  body: z
    .strictObject({
      username: PlainName,
      role: z.enum(roles),
      password: NewPassword.optional(),
      expiresAt: Time.optional(),
      ttlSeconds: z.int().min(1).max(TTL_SECONDS_MAX).optional(),
    })
    .refine((body) => body.expiresAt === undefined || body.ttlSeconds === undefined, {
      path: ['ttlSeconds'],
      message: 'cannot be combined with expiresAt',
    })
    .meta({ override: NOT_BOTH_EXPIRIES }),
  response: User.extend({ oneTimePassword: z.string().optional() }),
});

export const listUsers = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/users',
  action: 'user.list',
  summary: 'List users by name.',
  statuses: [200],
  params: z.undefined(),
  query: Page,
  body: z.undefined(),
  response: PageOf(User),
});

export const readUser = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/users/{username}',
  action: 'user.read',
  summary: 'Read a user.',
  statuses: [200],
  params: UserParams,
  body: z.undefined(),
  response: User,
});

export const changeUser = endpoint({
  ...common,
  method: 'PATCH',
  path: '/api/v1/users/{username}',
  action: 'user.change',
  summary:
    'Change the role or the expiry of a user, or disable or enable the user. Takes effect with the next request.',
  statuses: [200],
  params: UserParams,
  body: z.strictObject({
    role: z.enum(roles).optional(),
    disabled: z.boolean().optional(),
    expiresAt: Time.nullable().optional(),
  }),
  response: User,
});

export const deleteUser = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/users/{username}',
  action: 'user.delete',
  summary: 'Delete a user. If the user is the only owner of a vault, name a successor who gets the vault.',
  statuses: [204],
  params: UserParams,
  query: z.strictObject({ successor: PlainName.optional() }),
  body: z.undefined(),
  response: z.undefined(),
});

export const resetPassword = endpoint({
  ...verb,
  path: '/api/v1/users/{username}:resetPassword',
  action: 'user.resetPassword',
  summary:
    'Make a one-time password and show it once. Ends every session of the user and turns TOTP off. Not for the own account.',
  statuses: [200],
  response: OneTimePassword,
});

export const unlockUser = endpoint({
  ...verb,
  path: '/api/v1/users/{username}:unlock',
  action: 'user.unlock',
  summary: 'Unlock a user: reset the count of failed sign-ins.',
  statuses: [204],
  response: z.undefined(),
});

export const revokeSessions = endpoint({
  ...verb,
  path: '/api/v1/users/{username}:revokeSessions',
  action: 'user.revokeSessions',
  summary: 'End every session of a user.',
  statuses: [204],
  response: z.undefined(),
});
