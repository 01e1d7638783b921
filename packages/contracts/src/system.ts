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
  summary: 'Tell that the process is alive, and its version. Does not check what it depends on.',
  response: z.strictObject({ status: z.literal('ok'), version: z.string() }),
});

/** For clients that only check for an answer. Every other GET endpoint also accepts HEAD, which the document leaves out. */
export const probeHealth = endpoint({ ...readHealth, method: 'HEAD' });

export const readOpenApi = endpoint({
  ...open,
  statuses: [200, 304],
  conditional: true,
  path: '/api/v1/openapi.json',
  action: 'openapi.read',
  summary: 'Read this interface as an OpenAPI 3.1 document.',
  response: z.looseObject({ openapi: z.string() }),
});
