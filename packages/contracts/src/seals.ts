import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Reason } from './reason.ts';
import { NewSeal, Seal, SealRequest } from './seal-api.ts';

const common = { auth: 'bearer', query: z.strictObject({}) } as const;

export const listSeals = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/seals',
  action: 'seal.list',
  summary: 'The seals of the keyring: each of them opens it. The oldest first.',
  statuses: [200],
  params: z.undefined(),
  body: z.undefined(),
  response: z.strictObject({ items: z.array(Seal) }),
});

export const addSeal = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/seals',
  action: 'seal.add',
  summary: 'Add a seal. Its shares, if it has any, are shown once.',
  statuses: [201],
  params: z.undefined(),
  body: SealRequest,
  response: NewSeal,
});

export const removeSeal = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/seals/{id}',
  action: 'seal.remove',
  summary: 'Remove a seal. Another one must have opened the keyring since kek-service started, or was proven since.',
  statuses: [204],
  params: z.object({ id: z.uuid() }),
  body: z.undefined(),
  response: z.undefined(),
});

export const unfreezeUnwraps = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/seals:unfreeze',
  action: 'unwrap.unfreeze',
  summary:
    'Let a service unwrap DEKs again after kek-service froze it. Once an hour; an operator may do it at any time.',
  statuses: [204],
  params: z.undefined(),
  body: z.strictObject({ peer: z.enum(['api-service', 'worker']).default('api-service'), reason: Reason }),
  response: z.undefined(),
});
