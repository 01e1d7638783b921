import type { Endpoint } from '@cardea/contracts/endpoint';
import { errorCodes, oauthErrors } from '@cardea/contracts/errors';
import { z } from 'zod';
import { createDocument } from 'zod-openapi';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject, ZodOpenApiResponseObject } from 'zod-openapi';

/** The shape of every error (RFC 9457). */
const Problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(errorCodes),
    requestId: z.uuid(),
    errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
    error: z.enum(oauthErrors).optional().meta({ description: 'At a token endpoint: the error of RFC 6749' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });

/** The header fields of an endpoint that takes conditions. */
const Conditions = z.object({
  'If-Match': z
    .string()
    .optional()
    .meta({ description: 'Entity tags, or `*`: go on only if the version there is one of them, else 412.' }),
  'If-None-Match': z.string().optional().meta({
    description: 'Entity tags, or `*`: go on only if the version there is none of them, else 412, or 304 to a GET.',
  }),
});

/** The header fields of a request that is signed (Standard Webhooks). */
const Signature = z.object({
  'webhook-id': z.string().meta({ description: 'The id of this message: 1 to 64 of A-Z a-z 0-9 _ -' }),
  'webhook-timestamp': z.string().meta({ description: 'Seconds since 1970, at most 300 from now' }),
  'webhook-signature': z.string().meta({ description: '`v1,` and the base64 of HMAC-SHA256; several after blanks' }),
});

/** The OpenAPI 3.1 document of an interface, made from the contract that also serves it. */
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
      ...(endpoint.conditional ? { header: Conditions } : {}),
      ...(endpoint.signed ? { header: Signature } : {}),
    },
    ...(hasBody ? { requestBody: { content: bodyContentOf(endpoint) } } : {}),
    responses: {
      ...Object.fromEntries(endpoint.statuses.map((status) => [status, toSuccess(endpoint, status)])),
      ...(endpoint.conditional ? { 412: toRefusal('The condition does not hold') } : {}),
      default: toRefusal('Refused'),
    },
  };
}

function bodyContentOf({ oauth, body }: Endpoint): Record<string, { schema: z.ZodType }> {
  const types = oauth ? ['application/x-www-form-urlencoded', 'application/json'] : ['application/json'];
  return Object.fromEntries(types.map((type) => [type, { schema: body }]));
}

function toSuccess(endpoint: Endpoint, status: number): ZodOpenApiResponseObject {
  if (status === 304) return { description: 'The client has it already', ...tagOf(endpoint) };
  return { description: endpoint.summary, ...tagOf(endpoint), ...contentOf(endpoint) };
}

// A client that gets a version can name it in a condition.
function tagOf({ conditional, response }: Endpoint): Pick<ZodOpenApiResponseObject, 'headers'> {
  if (!conditional || !(response instanceof z.ZodObject) || !('version' in response.shape)) return {};
  return { headers: { ETag: { description: 'The version as an entity tag', schema: { type: 'string' } } } };
}

function toRefusal(description: string): ZodOpenApiResponseObject {
  return { description, content: { 'application/problem+json': { schema: Problem } } };
}

function contentOf({ response }: Endpoint): { content?: Record<string, { schema: z.ZodType }> } {
  if (response instanceof z.ZodUndefined) return {};
  if (response instanceof z.ZodString) return { content: { 'text/plain': { schema: response } } };
  if (response instanceof z.ZodObject) return { content: { 'application/json': { schema: response } } };
  return { content: { 'application/x-tar': { schema: z.string().meta({ format: 'binary' }) } } };
}
