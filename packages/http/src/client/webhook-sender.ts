import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isInside } from '@cardea/contracts/cidr';
import type { SendFailure, WebhookRequest, WebhookSender } from '@cardea/contracts/webhooks/sender';
import { Agent } from 'undici';
import { isPublicAddress } from './public-address.ts';

const TIMEOUT_MS = 10_000;

/** As much of an answer is read before the connection is closed. Nothing of it is kept. */
const ANSWER_BYTES_MAX = 16 * 1024;

export interface WebhookSenderOptions {
  /** Finds all addresses of a name. The system's resolver unless a test says otherwise. */
  resolve?: (host: string) => Promise<LookupAddress[]>;
  /** From the look-up of the name to the end of the answer. */
  timeoutMs?: number;
  /** The CAs of receivers, as PEM, in place of those of the system. */
  ca?: string | undefined;
}

/**
 * Sends webhooks over a new connection each. The name of a receiver is looked up once, every address is checked, and
 * the connection goes to one of those addresses: a name that means another address a moment later changes nothing.
 * Redirects are not followed. At most 16 KiB of an answer are read.
 */
export function createWebhookSender(options: WebhookSenderOptions = {}): WebhookSender {
  const { resolve = (host) => lookup(host, { all: true }), timeoutMs = TIMEOUT_MS, ca } = options;
  return {
    async post({ url, allowNetworks }, request, stop) {
      const timeout = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([stop, timeout]);
      try {
        const addresses = await unlessAborted(signal, resolve(hostOf(url)));
        if (addresses.length === 0) return 'no-address';
        if (!addresses.every(({ address }) => mayConnect(address, allowNetworks))) return 'address-refused';
        return await postTo(addresses, { url, request, signal, timeoutMs, ca });
      } catch (error) {
        if (stop.aborted) return 'aborted';
        return timeout.aborted ? 'timeout' : failureOf(error);
      }
    },
  };
}

// An address in brackets is IPv6.
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
}

async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function mayConnect(address: string, allowNetworks: readonly string[]): boolean {
  // For `isInside`, an empty list allows every address.
  return isPublicAddress(address) || (allowNetworks.length > 0 && isInside(address, allowNetworks));
}

async function postTo(
  addresses: LookupAddress[],
  {
    url,
    request,
    signal,
    timeoutMs,
    ca,
  }: { url: string; request: WebhookRequest; signal: AbortSignal; timeoutMs: number; ca: string | undefined },
): Promise<SendFailure | undefined> {
  const connect = { lookup: pinnedTo(addresses), timeout: timeoutMs, ...(ca !== undefined && { ca }) };
  const agent = new Agent({ connect, allowH2: false, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  try {
    const { origin, pathname, search } = new URL(url);
    const to = { origin, path: pathname + search, method: 'POST' } as const;
    const { statusCode, body } = await agent.request({ ...to, ...request, signal });
    // The status is the answer. What becomes of the rest changes nothing, even if the receiver breaks it off.
    await body.dump({ limit: ANSWER_BYTES_MAX, signal }).catch(() => undefined);
    return statusCode >= 200 && statusCode < 300 ? undefined : `status-${statusCode}`;
  } finally {
    await agent.destroy();
  }
}

/** Answers every look-up of the connection with the addresses that were checked. */
function pinnedTo(addresses: LookupAddress[]): LookupFunction {
  return (_host, { all }, callback) => {
    const [first] = addresses;
    if (all) callback(null, addresses);
    else callback(null, first!.address, first!.family);
  };
}

function failureOf(error: unknown): SendFailure {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'no-address' : 'connection';
}
