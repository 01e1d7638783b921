import { z } from 'zod';
import { roles } from './caller.ts';
import { endpoint } from './endpoint.ts';
import { PlainName } from './names.ts';

export const login = endpoint({
  method: 'POST',
  path: '/api/v1/auth/login',
  action: 'auth.login',
  summary: 'Sign in with a password. Every failure is the same 401.',
  auth: 'none',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.strictObject({ username: z.string().min(1).max(256), password: z.string().min(1).max(1024) }),
  response: z.strictObject({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().positive(),
  }),
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
  method: 'GET',
  path: '/api/v1/auth/me',
  action: 'auth.me',
  summary: 'Who is signed in.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.undefined(),
  response: z.strictObject({
    id: z.uuid(),
    type: z.enum(['user', 'application']),
    name: PlainName,
    role: z.enum(roles).optional(),
  }),
});
