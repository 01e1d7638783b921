import type { Endpoint } from '@cardea/contracts/endpoint';
import { errorCodes, oauthErrors } from '@cardea/contracts/errors';
import { z } from 'zod';
import { createDocument } from 'zod-openapi';
import type {
  ZodOpenApiMediaTypeObject,
  ZodOpenApiOperationObject,
  ZodOpenApiPathsObject,
  ZodOpenApiResponseObject,
} from 'zod-openapi';

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

// As Cardea writes them. `parseConditions` also takes weak ones, and blanks around a comma.
const TAGS = /^(\*|"[!#-+\--~]*"(, ?"[!#-+\--~]*")*)$/;

/** The header fields of an endpoint that takes conditions. */
const Conditions = z.object({
  'If-Match': z
    .string()
    .regex(TAGS)
    .optional()
    .meta({ description: 'Entity tags, or `*`: go on only if the version there is one of them, else 412.' }),
  'If-None-Match': z.string().regex(TAGS).optional().meta({
    description: 'Entity tags, or `*`: go on only if the version there is none of them, else 412, or 304 to a GET.',
  }),
});

/** The header fields of a request that is signed (Standard Webhooks). */
const Signature = z.object({
  'webhook-id': z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .meta({ description: 'The id of this message: 1 to 64 of A-Z a-z 0-9 _ -' }),
  'webhook-timestamp': z
    .string()
    .regex(/^[1-9][0-9]{0,11}$/)
    .meta({ description: 'Seconds since 1970, at most 300 from now' }),
  'webhook-signature': z
    .string()
    .regex(/^[!-~ ]{1,1024}$/)
    .meta({ description: '`v1,` and the base64 of HMAC-SHA256; several after blanks' }),
});

/** An example of a call and its answer. */
export interface CallExample {
  params?: Record<string, unknown>;
  query?: Record<string, unknown>;
  body?: unknown;
  response?: unknown;
}

/** What the document says in addition to the contract. */
export interface Described {
  /** By method and path as in the document: `GET /api/v1/vaults/{vault}`. */
  examples: Record<string, CallExample>;
  /** The shapes with a name of their own. Generators make a type of each. */
  schemas: Record<string, z.ZodType>;
  /** The name of a call, such as `readSecret`. Generators make a function of it. No two calls have the same. */
  operationId(endpoint: Endpoint, name: string): string;
}

/** The OpenAPI 3.1 document of an interface, made from the contract that also serves it. */
export function toOpenApi(endpoints: Endpoint[], described: Described): { openapi: string } {
  const paths: ZodOpenApiPathsObject = {};
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/\{[+*]/g, '{');
    const name = `${endpoint.method} ${path}`;
    const operation = toOperation(endpoint, described.operationId(endpoint, name), described.examples[name]);
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operation };
  }
  return createDocument({
    openapi: '3.1.0',
    info: { title: 'Cardea', version: '1', license: { name: 'MIT', identifier: 'MIT' } },
    paths,
    components: {
      schemas: { Problem, ...described.schemas },
      headers,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  });
}

const headers = {
  'X-Request-Id': {
    description: 'The id of this request in the log of the server and in the audit log',
    schema: { type: 'string', format: 'uuid' },
  },
  'Cardea-Receipt': {
    description: 'Where the record of this call is in the audit log: `seq=<position> leaf=<base64 of its leaf hash>`',
    schema: { type: 'string' },
  },
  ETag: { description: 'The version as an entity tag', schema: { type: 'string' } },
  'Retry-After': { description: 'With 429 and 503: seconds until a repetition may help', schema: { type: 'integer' } },
} as const;

function headersOf(names: (keyof typeof headers)[]): Pick<ZodOpenApiResponseObject, 'headers'> {
  return { headers: Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }])) };
}

function toOperation(endpoint: Endpoint, operationId: string, example: CallExample = {}): ZodOpenApiOperationObject {
  const { action, summary } = endpoint;
  return {
    operationId,
    summary,
    tags: [action.split('.')[0]!],
    ...(endpoint.auth === 'bearer' ? { security: [{ bearer: [] }] } : {}),
    requestParams: {
      ...pathOf(endpoint, example),
      ...queryOf(endpoint, example),
      ...(endpoint.conditional ? { header: Conditions } : {}),
      ...(endpoint.signed ? { header: Signature } : {}),
    },
    ...(saysSomething(endpoint.body)
      ? { requestBody: { required: true, content: bodyContentOf(endpoint, example) } }
      : {}),
    responses: {
      ...Object.fromEntries(endpoint.statuses.map((status) => [status, toSuccess(endpoint, example, status)])),
      ...(endpoint.conditional ? { 412: toRefusal('The condition does not hold') } : {}),
      default: toRefusal('Refused'),
    },
  };
}

// By OpenAPI a client percent-encodes what it puts into a path. Cardea takes these two (docs/decisions/006).
const EITHER_WAY = 'A slash or a colon in it goes into the path as it is, or as %2F or %3A.';

function pathOf({ path, params }: Endpoint, example: CallExample): { path?: z.ZodObject } {
  if (!(params instanceof z.ZodObject)) return {};
  const shape = Object.entries(params.shape as Record<string, z.ZodType>).map(([name, schema]) => {
    const mayNeedEncoding = path.includes(`{+${name}}`) || path.includes(`{*${name}}`);
    return [name, mayNeedEncoding ? schema.meta({ description: EITHER_WAY }) : schema] as const;
  });
  return { path: withExamples(z.object(Object.fromEntries(shape)), example.params) };
}

function withExamples(parameters: z.ZodObject, examples: Record<string, unknown> = {}): z.ZodObject {
  const shape = Object.entries(parameters.shape as Record<string, z.ZodType>).map(([name, schema]) => {
    const { param = {} } = schema.meta() ?? {};
    return [name, name in examples ? schema.meta({ param: { ...param, example: examples[name] } }) : schema] as const;
  });
  return z.object(Object.fromEntries(shape));
}

function queryOf({ query, freeQuery }: Endpoint, example: CallExample): { query?: z.ZodObject } {
  if (!(query instanceof z.ZodObject)) return {};
  return { query: withExamples(z.object({ ...query.shape, ...freeQuery?.shape }), example.query) };
}

// A body that may only be empty is taken, because many clients send one. The document need not ask for it. A client may
// leave out a body whose fields are all optional, but one that sends it is never wrong, and generators handle it better.
function saysSomething(body: z.ZodType): boolean {
  const inner = body instanceof z.ZodOptional ? (body.unwrap() as z.ZodType) : body;
  if (inner instanceof z.ZodUndefined) return false;
  return (
    !(inner instanceof z.ZodObject) || Object.keys(inner.shape).length > 0 || inner.def.catchall instanceof z.ZodUnknown
  );
}

function bodyContentOf(
  { oauth, method, body }: Endpoint,
  example: CallExample,
): Record<string, ZodOpenApiMediaTypeObject> {
  const types = ['application/json'];
  if (oauth) types.unshift('application/x-www-form-urlencoded');
  // RFC 7396: a field that is left out stays as it is, and null removes it.
  if (method === 'PATCH') types.push('application/merge-patch+json');
  return Object.fromEntries(types.map((type) => [type, { schema: body, ...exampleOf(example.body) }]));
}

function exampleOf(example: unknown): { example?: unknown } {
  return example === undefined ? {} : { example };
}

function toSuccess(endpoint: Endpoint, { response }: CallExample, status: number): ZodOpenApiResponseObject {
  const told = headersOf([
    'X-Request-Id',
    // An answer that shows nothing new has no record.
    ...(endpoint.auth === 'bearer' && status !== 304 ? (['Cardea-Receipt'] as const) : []),
    ...(hasTag(endpoint) ? (['ETag'] as const) : []),
  ]);
  if (status === 304) return { description: 'The client has it already', ...told };
  return { description: endpoint.summary, ...told, ...contentOf(endpoint, response) };
}

// A client that gets a version can name it in a condition.
function hasTag({ conditional, response, statuses }: Endpoint): boolean {
  const hasVersion = response instanceof z.ZodObject && 'version' in response.shape;
  return conditional === true && (hasVersion || statuses.includes(304));
}

function toRefusal(description: string): ZodOpenApiResponseObject {
  const content = { 'application/problem+json': { schema: Problem } };
  return { description, ...headersOf(['X-Request-Id', 'Retry-After']), content };
}

function contentOf(
  { method, response, bare }: Endpoint,
  example: unknown,
): { content?: Record<string, ZodOpenApiMediaTypeObject> } {
  const content = { schema: response, ...exampleOf(example) };
  if (method === 'HEAD' || response instanceof z.ZodUndefined) return {};
  if (response instanceof z.ZodString) return { content: { 'text/plain': content } };
  if (isBytes(response)) return { content: { 'application/x-tar': { schema: z.string().meta({ format: 'binary' }) } } };
  return { content: { 'application/json': content, ...(bare ? bareContent : {}) } };
}

const bareContent = {
  'text/plain': { schema: z.string() },
  'application/octet-stream': { schema: z.string().meta({ format: 'binary' }) },
};

// `z.instanceof(Uint8Array)` is the only custom schema of a response.
function isBytes(response: z.ZodType): boolean {
  return response instanceof z.ZodCustom;
}
