import { z } from 'zod';
import { endpoint } from './endpoint.ts';

const open = {
  method: 'GET',
  auth: 'none',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.undefined(),
} as const;

export const readHealth = endpoint({
  ...open,
  path: '/healthz',
  action: 'health.read',
  summary: 'Whether the process is alive. Says nothing of what it depends on.',
  response: z.strictObject({ status: z.literal('ok') }),
});

/** For those who only look whether somebody answers; nothing else takes HEAD. */
export const probeHealth = endpoint({ ...readHealth, method: 'HEAD' });

export const readOpenApi = endpoint({
  ...open,
  path: '/api/v1/openapi.json',
  action: 'openapi.read',
  summary: 'This interface, as OpenAPI 3.1.',
  response: z.looseObject({ openapi: z.string() }),
});
