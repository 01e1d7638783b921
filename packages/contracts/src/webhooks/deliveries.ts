import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Page, PageOf, Time } from '../names.ts';

/** Whether an attempt is still to come, the receiver has taken it, or Cardea has given up. */
export const deliveryStates = ['waiting', 'delivered', 'dead'] as const;

const Delivery = z.strictObject({
  id: z.uuid().meta({ description: 'Also the header `webhook-id` of every attempt' }),
  endpoint: z.string(),
  event: z.string(),
  state: z.enum(deliveryStates),
  attempts: z.int().min(0),
  createdAt: Time,
  nextAttemptAt: Time.optional(),
  endedAt: Time.optional().meta({ description: 'When it was delivered or given up' }),
  lastFailure: z.string().optional(),
});

export const listDeliveries = endpoint({
  method: 'GET',
  path: '/api/v1/webhooks/deliveries',
  action: 'webhook.list',
  summary: 'Webhooks to receivers, the newest first. Delivered ones are kept for 7 days, dead ones for 30.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: Page.extend({ state: z.enum(deliveryStates).optional() }),
  body: z.undefined(),
  response: PageOf(Delivery),
});

export const retryDelivery = endpoint({
  method: 'POST',
  path: '/api/v1/webhooks/deliveries/{id}:retry',
  action: 'webhook.retry',
  summary: 'Send a dead delivery again, at once and then for another day.',
  auth: 'bearer',
  statuses: [200],
  params: z.object({ id: z.uuid() }),
  query: z.strictObject({}),
  body: z.undefined(),
  response: Delivery,
});
