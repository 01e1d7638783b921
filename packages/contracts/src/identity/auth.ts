import { z } from 'zod';
import { roles } from '../caller.ts';
import { endpoint } from '../endpoint.ts';
import { Grant } from '../grants.ts';
import { NewPassword, Page, PageOf, PlainName, Text, Time } from '../names.ts';

const common = { params: z.undefined(), query: z.strictObject({}) } as const;

/** What a sign-in gives (names of RFC 6749). */
export const TokenPair = z.strictObject({
  access_token: z.string(),
  token_type: z.literal('Bearer'),
  expires_in: z.int().positive(),
  refresh_token: z.string(),
});

/** A password as somebody types it, to be compared. */
const Password = Text.min(1).max(1024);
const Otp = Text.min(1).max(64);

export const login = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/login',
  action: 'auth.login',
  summary: 'Sign in with a password, and a one-time or recovery code where TOTP is on. Every failure is the same 401.',
  auth: 'none',
  statuses: [200],
  body: z.strictObject({ username: Text.min(1).max(256), password: Password, otp: Otp.optional() }),
  response: TokenPair,
});

export const refresh = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/refresh',
  action: 'auth.refresh',
  summary:
    'A new pair. A refresh token works once; a used one ends its whole session, unless the same client repeats itself within 10 s.',
  auth: 'none',
  statuses: [200],
  body: z.strictObject({ refresh_token: Text.min(1).max(256) }),
  response: TokenPair,
});

export const clientCredentials = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/token',
  action: 'auth.token',
  summary: 'An access token for an application (RFC 6749, 4.4): form or JSON; secret in the body or by Basic.',
  auth: 'none',
  form: true,
  statuses: [200],
  body: z.strictObject({
    grant_type: z.literal('client_credentials'),
    client_id: Text.min(1).max(128).optional(),
    client_secret: Text.min(1).max(256).optional(),
  }),
  response: TokenPair.omit({ refresh_token: true }),
});

export const logout = endpoint({
  method: 'POST',
  path: '/api/v1/auth/logout',
  action: 'auth.logout',
  summary: 'End the session at once, everywhere.',
  auth: 'bearer',
  statuses: [204],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.strictObject({}).optional(),
  response: z.undefined(),
});

export const readMe = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/auth/me',
  action: 'auth.me',
  summary: 'Who is signed in, in what role, and what they were granted.',
  auth: 'bearer',
  statuses: [200],
  body: z.undefined(),
  response: z.strictObject({
    id: z.uuid(),
    type: z.enum(['user', 'application']),
    name: PlainName,
    role: z.enum(roles).optional(),
    mustChangePassword: z.boolean().optional(),
    grants: z.array(z.strictObject({ vault: PlainName, ...Grant.omit({ principal: true }).shape })),
  }),
});

export const changePassword = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/password',
  action: 'auth.password',
  summary: 'Change the own password. Every other session ends.',
  auth: 'bearer',
  statuses: [204],
  body: z.strictObject({ currentPassword: Password, newPassword: NewPassword }),
  response: z.undefined(),
});

export const setUpTotp = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/totp',
  action: 'auth.totpSetUp',
  summary: 'Make a TOTP secret (RFC 6238). It is asked for once a first code has confirmed it.',
  auth: 'bearer',
  statuses: [200],
  body: z.strictObject({}).optional(),
  response: z.strictObject({ uri: z.string() }),
});

export const confirmTotp = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/totp:confirm',
  action: 'auth.totpConfirm',
  summary: 'Turn TOTP on with a first code. The recovery codes are shown once.',
  auth: 'bearer',
  statuses: [200],
  body: z.strictObject({ otp: Otp }),
  response: z.strictObject({ recoveryCodes: z.array(z.string()) }),
});

export const disableTotp = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/totp:disable',
  action: 'auth.totpDisable',
  summary: 'Turn TOTP off, by a code that was not used yet or a recovery code.',
  auth: 'bearer',
  statuses: [204],
  body: z.strictObject({ otp: Otp }),
  response: z.undefined(),
});

export const removeTotp = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/auth/totp',
  action: 'auth.totpRemove',
  summary: 'Forget a TOTP secret that no code has confirmed. One that is on is turned off by a code.',
  auth: 'bearer',
  statuses: [204],
  body: z.strictObject({}).optional(),
  response: z.undefined(),
});

const Session = z.strictObject({
  id: z.uuid(),
  current: z.boolean(),
  createdAt: Time,
  expiresAt: Time,
  ip: z.string(),
  userAgent: z.string(),
});

export const listSessions = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/auth/sessions',
  action: 'session.list',
  summary: 'The own sessions, newest first.',
  auth: 'bearer',
  statuses: [200],
  query: Page,
  body: z.undefined(),
  response: PageOf(Session),
});

export const endSession = endpoint({
  method: 'DELETE',
  path: '/api/v1/auth/sessions/{id}',
  action: 'session.end',
  summary: 'End one of the own sessions.',
  auth: 'bearer',
  statuses: [204],
  params: z.object({ id: z.uuid() }),
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.undefined(),
});
