import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Time } from '../names.ts';

const PATH = '/api/v1/webhooks/kek-rotation';

const signed = { auth: 'none', signed: true, query: z.strictObject({}) } as const;
const managed = { auth: 'bearer', query: z.strictObject({}), body: z.undefined() } as const;
const Secret = z.strictObject({ id: z.uuid(), createdAt: Time, lastUsedAt: Time.optional() });

/** The webhook that starts a KEK rotation. */
export const receiveKekRotation = endpoint({
  ...signed,
  method: 'POST',
  path: PATH,
  action: 'webhook.receive',
  summary:
    'Rotate the KEK. The request is signed (Standard Webhooks) and counts once. If a KEK rotation is open, or one started in the last 5 minutes, the answer is the id of that one.',
  statuses: [202],
  params: z.undefined(),
  body: z.looseObject({}).meta({ description: 'Any JSON. It chooses nothing.' }),
  response: z.strictObject({ id: z.uuid() }),
});

export const followKekRotation = endpoint({
  ...signed,
  method: 'GET',
  path: `${PATH}/rotations/{id}`,
  action: 'webhook.follow',
  summary: 'How far a KEK rotation is. The request is signed in the same way, with an empty body.',
  statuses: [200],
  params: z.object({ id: z.uuid() }),
  body: z.undefined(),
  response: z.strictObject({
    id: z.uuid(),
    state: z.enum(['running', 'paused', 'cancelled', 'finished']),
    total: z.int().min(0),
    done: z.int().min(0),
    failed: z.int().min(0),
    startedAt: Time,
    finishedAt: Time.optional(),
  }),
});

export const createWebhookSecret = endpoint({
  ...managed,
  method: 'POST',
  path: `${PATH}/secrets`,
  action: 'webhookSecret.create',
  summary:
    'Make a secret that signs the webhook. It is shown once. There are at most two, for a change without downtime.',
  statuses: [201],
  params: z.undefined(),
  response: Secret.extend({ secret: z.string() }),
});

export const listWebhookSecrets = endpoint({
  ...managed,
  method: 'GET',
  path: `${PATH}/secrets`,
  action: 'webhookSecret.list',
  summary: 'When the secrets of the webhook were made and last used, never the secrets.',
  statuses: [200],
  params: z.undefined(),
  response: z.strictObject({ items: z.array(Secret) }),
});

export const deleteWebhookSecret = endpoint({
  ...managed,
  method: 'DELETE',
  path: `${PATH}/secrets/{id}`,
  action: 'webhookSecret.delete',
  summary: 'Withdraw a secret of the webhook, at once.',
  statuses: [204],
  params: z.object({ id: z.uuid() }),
  response: z.undefined(),
});
