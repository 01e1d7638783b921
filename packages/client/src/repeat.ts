import type { Call, Conditions } from './call.ts';
import { CardeaError } from './errors.ts';

/** When a failed call is repeated. */
export interface RepeatOptions {
  /** How often a call is repeated at most. 0 for never. */
  repeatsMax: number;
  /** The longest that a call waits in all before it is repeated, in milliseconds. */
  waitMsMax: number;
}

export const REPEATS: RepeatOptions = { repeatsMax: 5, waitMsMax: 60_000 };

/**
 * Sends until there is an answer that a repetition does not change, by the rules of docs/calling.md. What was refused before
 * it began (429, sealed) is repeated always. What may have been done is repeated only if a second call changes nothing
 * more, and never if it has a condition: its own first call would have made that condition false.
 *
 * @throws CardeaError of the last try
 */
export async function repeat<T>(
  { method, repeats }: Pick<Call, 'method' | 'repeats'>,
  { conditions, send, gone, options, signal }: Repeated<T>,
): Promise<T> {
  let waitedMs = 0;
  let mayBeDone = false;
  for (let repeated = 0; ; repeated += 1) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof CardeaError)) throw error;
      // What a first DELETE has deleted is not found by a second one.
      if (mayBeDone && method === 'DELETE' && error.code === 'not_found') return await gone();
      const uncertain = isUncertain(error);
      const changes = method !== 'GET' && method !== 'HEAD';
      mayBeDone ||= (uncertain || error.code === 'internal') && changes;
      const waitMs = waitOf(error, repeated);
      const guarded = conditions !== undefined && changes;
      const mayRepeat = isRefusedEarly(error) || (uncertain && repeats && !guarded);
      waitedMs += waitMs;
      if (!mayRepeat || repeated >= options.repeatsMax || waitedMs > options.waitMsMax) {
        throw mayBeDone ? asMayBeDone(error) : error;
      }
      await sleep(waitMs, signal);
    }
  }
}

interface Repeated<T> {
  conditions: Conditions | undefined;
  send: () => Promise<T>;
  /** The result of a DELETE that an earlier try has done. */
  gone: () => Promise<T>;
  options: RepeatOptions;
  signal: AbortSignal | undefined;
}

function isRefusedEarly({ code }: CardeaError): boolean {
  return code === 'rate_limited' || code === 'sealed';
}

// A status of success in an answer that is not Cardea's says nothing either way.
function isUncertain({ code, status }: CardeaError): boolean {
  return code === 'unavailable' && (status === undefined || status < 300 || status >= 500);
}

function asMayBeDone(error: CardeaError): CardeaError {
  const { code, message, status, requestId, retryAfterSeconds, errors } = error;
  const options = { status, requestId, retryAfterSeconds, errors: [...errors], mayBeDone: true, cause: error };
  return new CardeaError(code, message, options);
}

/** As long as the server asks, or else longer each time, with chance so that many clients do not come back at once. */
function waitOf({ retryAfterSeconds }: CardeaError, repeated: number): number {
  const chance = 0.5 + Math.random() / 2;
  return retryAfterSeconds === undefined ? 250 * 2 ** repeated * chance : retryAfterSeconds * 1_000;
}

/** Resolves after a time. @throws the reason of the signal as soon as that is aborted */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
