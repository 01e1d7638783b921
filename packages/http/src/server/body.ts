import type { IncomingMessage } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import { parseJson } from './json.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a request's JSON, or its form if the endpoint takes one. A request without a body gives undefined.
 * @throws AppError `unsupported_media_type`, `too_large`, `invalid_request`
 */
export async function readJson(req: IncomingMessage, bytesMax: number, takesForm = false): Promise<unknown> {
  const bytes = await readBody(req, bytesMax);
  if (bytes.length === 0) return undefined;
  const contentType = req.headers['content-type'];
  if (takesForm && contentType?.split(';')[0]?.trim() === 'application/x-www-form-urlencoded') return parseForm(bytes);
  requireJson(contentType);
  return parseJson(decode(bytes));
}

function parseForm(bytes: Uint8Array): Record<string, string> {
  const fields = [...new URLSearchParams(decode(bytes))];
  const form = Object.fromEntries(fields);
  if (Object.keys(form).length === fields.length) return form;
  throw new AppError('invalid_request', 'the form has the same field twice', { suspicious: 'malformed_json' });
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new AppError('invalid_request', 'the body is not UTF-8', { suspicious: 'undecodable_body' });
  }
}

/** @throws AppError `too_large` (and reads no further); `unsupported_media_type` for a compressed body. */
export async function readBody(req: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  if (req.headers['content-encoding'] !== undefined) {
    throw new AppError('unsupported_media_type', 'a compressed body is not accepted');
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bytesMax) {
        req.pause();
        req.removeAllListeners('data');
        reject(tooLarge(bytesMax));
      } else chunks.push(chunk);
    });
    req.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    req.on('aborted', () => reject(new AppError('invalid_request', 'the request ended before its body did')));
    req.on('error', (cause) => reject(new AppError('invalid_request', 'the body could not be read', { cause })));
  });
}

/** @throws AppError `unsupported_media_type` unless the type is JSON in UTF-8 */
export function requireJson(contentType: string | undefined): void {
  const type = contentType?.split(';')[0]?.trim().toLowerCase();
  const charset = /charset="?([^";]+)/i.exec(contentType ?? '')?.[1]?.toLowerCase();
  if ((type === 'application/json' || type === 'application/merge-patch+json') && (charset ?? 'utf-8') === 'utf-8')
    return;
  throw new AppError('unsupported_media_type', 'the body must be application/json in UTF-8');
}

function tooLarge(bytesMax: number): AppError {
  return new AppError('too_large', `the body is larger than ${bytesMax} bytes`, { suspicious: 'oversized_body' });
}
