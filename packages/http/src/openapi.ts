import type { Endpoint } from '@cardea/contracts/endpoint';
import { errorCodes } from '@cardea/contracts/errors';
import { z } from 'zod';
import { createDocument } from 'zod-openapi';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';

/** What every error looks like (RFC 9457). */
const Problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(errorCodes),
    requestId: z.uuid(),
    errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });

/** OpenAPI 3.1 of an interface, from the same contract that serves it. */
export function toOpenApi(endpoints: Endpoint[]): { openapi: string } {
  const paths: ZodOpenApiPathsObject = {};
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/\{[+*]/g, '{');
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: toOperation(endpoint) };
  }
  return createDocument({
    openapi: '3.1.0',
    info: { title: 'Cardea', version: '1', license: { name: 'MIT', identifier: 'MIT' } },
    paths,
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
  });
}

function toOperation(endpoint: Endpoint): ZodOpenApiOperationObject {
  const { action, method, summary, params, query, body } = endpoint;
  const hasBody = !(body instanceof z.ZodUndefined);
  return {
    operationId: `${action}:${method.toLowerCase()}:${endpoint.path.split('/').slice(3).join('/')}`,
    summary,
    tags: [action.split('.')[0]!],
    ...(endpoint.auth === 'bearer' ? { security: [{ bearer: [] }] } : {}),
    requestParams: {
      ...(params instanceof z.ZodObject ? { path: params } : {}),
      ...(query instanceof z.ZodObject ? { query } : {}),
    },
    ...(hasBody ? { requestBody: { content: { 'application/json': { schema: body } } } } : {}),
    responses: {
      ...Object.fromEntries(
        endpoint.statuses.map((status) => [status, { description: summary, ...contentOf(endpoint) }]),
      ),
      default: { description: 'Refused', content: { 'application/problem+json': { schema: Problem } } },
    },
  };
}

function contentOf({ response }: Endpoint): { content?: Record<string, { schema: z.ZodType }> } {
  if (response instanceof z.ZodUndefined) return {};
  if (response instanceof z.ZodString) return { content: { 'text/plain': { schema: response } } };
  if (response instanceof z.ZodObject) return { content: { 'application/json': { schema: response } } };
  return { content: { 'application/x-tar': { schema: z.string().meta({ format: 'binary' }) } } };
}
