import type { IncomingMessage } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import type { OauthError } from '@cardea/contracts/errors';
import { z } from 'zod';
import { decode, mediaType, readBody, requireJson } from './body.ts';
import type { Arriving } from './body.ts';
import { parseJson } from './json.ts';
import { timesSent } from './odd-requests.ts';

/** A challenge names the scheme that the client can use (RFC 6749 section 5.2, RFC 7617 section 2). */
export const BASIC_CHALLENGE = 'Basic realm="Cardea", charset="UTF-8"';

/**
 * Reads the parameters of a token request, from a form or from JSON. An empty parameter counts as not sent, and an
 * unknown one is ignored (RFC 6749 section 3.2).
 * @throws AppError `unsupported_media_type`, `too_large`, `invalid_request`
 */
export async function readParameters(arriving: Arriving, schema: z.ZodType, bytesMax: number): Promise<unknown> {
  refuseTwoCredentials(arriving.req);
  const bytes = await readBody(arriving, bytesMax);
  if (bytes.length === 0) return undefined;
  const contentType = arriving.req.headers['content-type'];
  if (mediaType(contentType) === 'application/x-www-form-urlencoded') return parseForm(decode(bytes), schema);
  requireJson(contentType);
  return withoutEmpty(parseJson(decode(bytes)));
}

/** The name of an error at a token endpoint; undefined if RFC 6749 has none for it, as for 429 and 503. */
export function oauthErrorOf({ code, oauthError }: AppError): OauthError | undefined {
  if (oauthError) return oauthError;
  if (code === 'unauthenticated') return 'invalid_client';
  return ['invalid_request', 'too_large', 'unsupported_media_type'].includes(code) ? 'invalid_request' : undefined;
}

// Of two headers, Node uses the first and a proxy may use the last, so they could disagree about the client.
function refuseTwoCredentials({ rawHeaders }: IncomingMessage): void {
  if (timesSent(rawHeaders, 'authorization') < 2) return;
  throw new AppError('invalid_request', 'there must be at most one Authorization header', {
    rule: 'token-malformed',
    suspicious: 'token_malformed',
  });
}

// An extension may allow its own parameter twice, as RFC 8707 does. So only those that count are counted.
function parseForm(text: string, schema: z.ZodType): Record<string, string> {
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const fields = [...new URLSearchParams(text)].filter(([name, value]) => value !== '' && known.includes(name));
  const form = Object.fromEntries(fields);
  if (Object.keys(form).length === fields.length) return form;
  throw new AppError('invalid_request', 'the form has the same field twice', { suspicious: 'malformed_json' });
}

function withoutEmpty(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== ''));
}
