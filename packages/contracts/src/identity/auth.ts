import { z } from 'zod';
import { roles } from '../caller.ts';
import { endpoint } from '../endpoint.ts';
import type { OauthError } from '../errors.ts';
import { Grant } from '../grants.ts';
import { NewPassword, Page, PageOf, PlainName, Text, Time } from '../names.ts';

const common = { params: z.undefined(), query: z.strictObject({}) } as const;

/** The tokens that a sign-in gives. The names are those of RFC 6749. */
export const TokenPair = z.strictObject({
  access_token: z.string(),
  token_type: z.literal('Bearer'),
  expires_in: z.int().positive(),
  refresh_token: z.string(),
});

/** A password to be checked, as a user types it. */
const Password = Text.min(1).max(1024);
const Otp = Text.min(1).max(64);

export const login = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/login',
  action: 'auth.login',
  summary: 'Sign in with a password and, if TOTP is on, a code or a recovery code. Every failure gets the same 401.',
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
    'Get a new pair of tokens. A refresh token works once. A second use ends its session, unless the same client repeats the request within 10 s.',
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
  summary:
    'Get an access token for an application (RFC 6749, 4.4). The body is a form or JSON; the client secret is in the body or in HTTP Basic.',
  auth: 'none',
  oauth: true,
  statuses: [200],
  // Not strict: a token endpoint ignores what it does not know (RFC 6749 section 3.2).
  body: z.object({
    grant_type: Text.refine((type) => type === 'client_credentials', {
      message: 'must be client_credentials',
      params: { oauthError: 'unsupported_grant_type' satisfies OauthError },
    }).meta({ enum: ['client_credentials'] }),
    client_id: Text.min(1).max(128).optional(),
    client_secret: Text.min(1).max(256).optional(),
  }),
  response: TokenPair.omit({ refresh_token: true }),
});

export const logout = endpoint({
  method: 'POST',
  path: '/api/v1/auth/logout',
  action: 'auth.logout',
  summary: 'Sign out. The session ends at once in every process.',
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
  summary: "Read the caller's account: name, role and grants.",
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
  summary: "Change the caller's password. The caller's other sessions end.",
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
  summary:
    'Make a TOTP secret (RFC 6238). The current password is required. Sign-in asks for a code only after a first code has confirmed the secret.',
  auth: 'bearer',
  statuses: [200],
  body: z.strictObject({ currentPassword: Password }),
  response: z.strictObject({ uri: z.string() }),
});

export const confirmTotp = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/auth/totp:confirm',
  action: 'auth.totpConfirm',
  summary: 'Turn TOTP on with a first code. The recovery codes are shown once. Wrong codes count as failed sign-ins.',
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
  summary: 'Turn TOTP off with an unused code or a recovery code.',
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
  summary: 'Delete a TOTP secret that no code has confirmed. If TOTP is on, turn it off with a code instead.',
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
  summary: "List the caller's sessions, the newest first.",
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
  summary: "End one of the caller's sessions.",
  auth: 'bearer',
  statuses: [204],
  params: z.object({ id: z.uuid() }),
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.undefined(),
});
