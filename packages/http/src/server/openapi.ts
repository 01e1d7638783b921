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
  const { action, method, summary } = endpoint;
  return {
    operationId: `${action}:${method.toLowerCase()}:${endpoint.path.split('/').slice(3).join('/')}`,
    summary,
    tags: [action.split('.')[0]!],
    ...(endpoint.auth === 'bearer' ? { security: [{ bearer: [] }] } : {}),
    requestParams: {
      ...pathOf(endpoint),
      ...queryOf(endpoint),
      ...(endpoint.conditional ? { header: Conditions } : {}),
      ...(endpoint.signed ? { header: Signature } : {}),
    },
    ...(saysSomething(endpoint.body) ? { requestBody: { required: true, content: bodyContentOf(endpoint) } } : {}),
    responses: {
      ...Object.fromEntries(endpoint.statuses.map((status) => [status, toSuccess(endpoint, status)])),
      ...(endpoint.conditional ? { 412: toRefusal('The condition does not hold') } : {}),
      default: toRefusal('Refused'),
    },
  };
}

// By OpenAPI a client percent-encodes what it puts into a path. Cardea refuses that (docs/decisions/006), and a colon or a
// slash in a name needs it only by OpenAPI.
const AS_IT_IS = 'Goes into the path as it is: a colon or a slash in it is not percent-encoded.';

function pathOf({ path, params }: Endpoint): { path?: z.ZodObject } {
  if (!(params instanceof z.ZodObject)) return {};
  const shape = Object.entries(params.shape as Record<string, z.ZodType>).map(([name, schema]) => {
    const mayNeedEncoding = path.includes(`{+${name}}`) || path.includes(`{*${name}}`);
    return [name, mayNeedEncoding ? schema.meta({ description: AS_IT_IS }) : schema] as const;
  });
  return { path: z.object(Object.fromEntries(shape)) };
}

function queryOf({ query, freeQuery }: Endpoint): { query?: z.ZodObject } {
  if (!(query instanceof z.ZodObject)) return {};
  return { query: freeQuery ? z.object({ ...query.shape, ...freeQuery.shape }) : query };
}

// A body that may only be empty is taken, because many clients send one. The document need not ask for it. A client may
// leave out a body whose fields are all optional, but one that sends it is never wrong, and generators handle it better.
function saysSomething(body: z.ZodType): boolean {
  const inner = body instanceof z.ZodOptional ? (body.unwrap() as z.ZodType) : body;
  if (inner instanceof z.ZodUndefined) return false;
  return !(inner instanceof z.ZodObject) || Object.keys(inner.shape).length > 0;
}

function bodyContentOf({ oauth, method, body }: Endpoint): Record<string, { schema: z.ZodType }> {
  const types = ['application/json'];
  if (oauth) types.unshift('application/x-www-form-urlencoded');
  // RFC 7396: a field that is left out stays as it is, and null removes it.
  if (method === 'PATCH') types.push('application/merge-patch+json');
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
