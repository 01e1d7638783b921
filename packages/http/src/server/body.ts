import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import { parseJson, parseLongJson } from './json.ts';
import { timesSent } from './odd-requests.ts';
import type { Admitted } from './bounds.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A request whose body may still be on its way. */
export interface Arriving {
  req: IncomingMessage;
  res: ServerResponse;
  /** What the request holds meanwhile. */
  admitted?: Admitted | undefined;
}

/** Bytes. To read a longer body takes a good part of a millisecond, and many may arrive at once. */
const LONG_BODY = 16 * 1024;

/**
 * Reads a request's JSON. A request without a body gives undefined. Between the steps of a long body, others are let in:
 * several may arrive in the same turn.
 * @throws AppError `unsupported_media_type`, `too_large`, `invalid_request`
 */
export async function readJson(
  arriving: Arriving,
  bytesMax: number,
  letOthersIn: () => Promise<void> | undefined,
): Promise<unknown> {
  const chunks = await readChunks(arriving, bytesMax);
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  if (size === 0) return undefined;
  requireJson(arriving.req.headers['content-type']);
  if (size <= LONG_BODY) return parseJson(decode(joined(chunks)));
  await letOthersIn();
  const text = decode(joined(chunks));
  await letOthersIn();
  const body = await parseLongJson(text, letOthersIn);
  await letOthersIn();
  return body;
}

/** The media type in lower case, without parameters (RFC 9110 section 8.3.1). */
export function mediaType(contentType: string | undefined): string | undefined {
  return contentType?.split(';')[0]?.trim().toLowerCase();
}

/** @throws AppError `invalid_request` for bytes that are not UTF-8 */
export function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new AppError('invalid_request', 'the body is not UTF-8', { suspicious: 'undecodable_body' });
  }
}

/**
 * Reads a body, and asks for it if the client waits to be asked (`Expect: 100-continue`).
 * @throws AppError `too_large`, or `rate_limited` if the caller has too many bytes under way, or others need the room
 * before the body is there (and reads no further); `unsupported_media_type` for a compressed body; `invalid_request`
 */
export async function readBody(arriving: Arriving, bytesMax: number): Promise<Buffer> {
  return joined(await readChunks(arriving, bytesMax));
}

function joined(chunks: Buffer[]): Buffer {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

async function readChunks({ req, res, admitted }: Arriving, bytesMax: number): Promise<Buffer[]> {
  // Of two, Node takes the first and a program in front may take the last, so they could disagree about the body.
  if (timesSent(req.rawHeaders, 'content-type') > 1) {
    throw new AppError('invalid_request', 'there must be one Content-Type header', { suspicious: 'broken_request' });
  }
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  if (req.headers['content-encoding'] !== undefined) {
    throw new AppError('unsupported_media_type', 'a compressed body is not accepted');
  }
  // Told before the body is sent. Bytes count only when they are here, or clients that send none would fill the bound.
  const bytes = admitted?.countsBytes ? admitted.held : undefined;
  bytes?.expect(declared);
  if (/(?:^|\W)100-continue(?:$|\W)/i.test(req.headers.expect ?? '')) res.writeContinue();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (error: unknown) => {
      req.pause();
      req.removeAllListeners('data');
      chunks.length = 0;
      reject(error);
    };
    const arrived = admitted?.held.untilArrived(stop);
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      try {
        if (size > bytesMax) throw tooLarge(bytesMax);
        bytes?.take(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        stop(error);
      }
    });
    req.on('end', () => {
      arrived?.();
      resolve(chunks);
    });
    req.on('aborted', () => reject(new AppError('invalid_request', 'the request ended before its body did')));
    req.on('error', (cause) => reject(new AppError('invalid_request', 'the body could not be read', { cause })));
  });
}

/** @throws AppError `unsupported_media_type` unless the type is JSON in UTF-8 */
export function requireJson(contentType: string | undefined): void {
  const type = mediaType(contentType);
  const charset = /charset="?([^";]+)/i.exec(contentType ?? '')?.[1]?.toLowerCase();
  if ((type === 'application/json' || type === 'application/merge-patch+json') && (charset ?? 'utf-8') === 'utf-8')
    return;
  throw new AppError('unsupported_media_type', 'the body must be application/json in UTF-8');
}

function tooLarge(bytesMax: number): AppError {
  return new AppError('too_large', `the body is larger than ${bytesMax} bytes`, { suspicious: 'oversized_body' });
}
