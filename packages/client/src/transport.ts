import type { Endpoint } from '@cardea/contracts/endpoint';
import { fillPath, toHeaders, toSearch } from './call.ts';
import type { AnswerOf, Call, Conditions, RequestOf } from './call.ts';
import { CardeaError, errorOf, notOfCardea } from './errors.ts';
import { REPEATS, repeat } from './repeat.ts';
import type { RepeatOptions } from './repeat.ts';

/** Options of every call. */
export interface CallOptions {
  /** Ends the call, also while it waits. The call then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** How long one try may take, in milliseconds. Of a stream: until it begins. */
  timeoutMs?: number | undefined;
}

export interface TransportOptions {
  /** Where Cardea is: `https://cardea.example.com`. */
  url: string;
  fetch?: typeof globalThis.fetch | undefined;
  /** The default for every call: 30 s, longer than the server lets a call wait for its turn. */
  timeoutMs?: number | undefined;
  repeats?: Partial<RepeatOptions> | undefined;
  /** Sent with every request. A refresh token is bound to the `User-Agent` of its sign-in for its repetition. */
  headers?: Record<string, string> | undefined;
}

/** An answer of a call: 304 has no body. */
export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** Where the access token of each request comes from. */
export interface TokenSource {
  /** @throws CardeaError `unauthenticated` */
  token(signal: AbortSignal | undefined): Promise<string>;
  /** Takes notice that the server refused a token. Returns whether another one can be had. */
  forget(token: string): boolean;
}

/** Sends calls and repeats them as docs/calling.md says. */
export class Transport {
  readonly #url: string;
  readonly #fetch: typeof globalThis.fetch;
  readonly #timeoutMs: number;
  readonly #repeats: RepeatOptions;
  readonly #headers: Record<string, string>;

  constructor({ url, fetch = globalThis.fetch, timeoutMs = 30_000, repeats, headers = {} }: TransportOptions) {
    this.#url = new URL(url).href.replace(/\/+$/, '');
    // A browser's fetch must be called on its window.
    this.#fetch = fetch.bind(globalThis);
    this.#timeoutMs = timeoutMs;
    this.#repeats = { ...REPEATS, ...repeats };
    this.#headers = headers;
  }

  /** Sends a call, with a token if it needs one. @throws CardeaError; the reason of the signal */
  async send<E extends Endpoint>(
    call: Call<E>,
    request: RequestOf<E> = {},
    { tokens, ...options }: CallOptions & { tokens?: TokenSource | undefined } = {},
  ): Promise<Answer<AnswerOf<E>>> {
    const receive = async (response: Response) => {
      const { status, headers } = response;
      const body = (await readBody(response, call)) as AnswerOf<E>;
      return { status, headers, body };
    };
    return await this.#repeated(call, request, { receive, tokens, ...options });
  }

  /** Sends a call whose answer is a stream of bytes. The timeout ends when the stream begins. */
  async stream<E extends Endpoint>(
    call: Call<E>,
    request: RequestOf<E>,
    { tokens, ...options }: CallOptions & { tokens?: TokenSource | undefined },
  ): Promise<ReadableStream<Uint8Array>> {
    return await this.#repeated(call, request, { receive: streamOf, tokens, ...options });
  }

  async #repeated<E extends Endpoint, T>(call: Call<E>, request: RequestOf<E>, how: How<T>): Promise<T> {
    const { conditions } = request;
    const prepared = {
      method: call.method,
      url: this.#url + fillPath(call.path, request.params as Record<string, unknown>) + toSearch(request.query),
      body: request.body === undefined ? undefined : JSON.stringify(request.body),
      conditions,
    };
    const gone = () => how.receive(new Response(null, { status: 204 }));
    const send = () => this.#authorized(prepared, how);
    return await repeat(call, { conditions, send, gone, options: this.#repeats, signal: how.signal });
  }

  /** A token may have ended on the way. The server refuses it before it does anything, so every call may be repeated. */
  async #authorized<T>(prepared: Prepared, how: How<T>): Promise<T> {
    const token = await how.tokens?.token(how.signal);
    try {
      return await this.#once(prepared, how, token);
    } catch (error) {
      const ended = error instanceof CardeaError && error.code === 'unauthenticated';
      if (!ended || token === undefined || how.tokens?.forget(token) !== true) throw error;
      return await this.#once(prepared, how, await how.tokens.token(how.signal));
    }
  }

  async #once<T>({ method, url, body, conditions }: Prepared, how: How<T>, token: string | undefined): Promise<T> {
    const { signal, timeoutMs = this.#timeoutMs } = how;
    signal?.throwIfAborted();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs);
    try {
      const response = await this.#fetch(url, {
        method,
        headers: {
          ...this.#headers,
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...toHeaders(conditions),
        },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any([late.signal, ...(signal ? [signal] : [])]),
        redirect: 'error',
        cache: 'no-store',
        // The browser's cookies for this address are nobody's business here.
        credentials: 'omit',
      });
      if (!response.ok && response.status !== 304) throw await errorOf(response);
      return await how.receive(response);
    } catch (error) {
      if (error instanceof CardeaError) throw error;
      if (signal?.aborted === true) throw signal.reason;
      const why = late.signal.aborted ? `no answer within ${timeoutMs} ms` : 'no answer';
      throw new CardeaError('unavailable', `${why} from ${new URL(url).origin}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

interface How<T> extends CallOptions {
  receive(response: Response): Promise<T>;
  tokens: TokenSource | undefined;
}

interface Prepared {
  method: string;
  url: string;
  body: string | undefined;
  conditions: Conditions | undefined;
}

async function streamOf(response: Response): Promise<ReadableStream<Uint8Array>> {
  if (isOfType(response, 'text/html')) throw notOfCardea(response);
  return response.body ?? new Blob([]).stream();
}

async function readBody(response: Response, { isText = false }: Pick<Call, 'isText'>): Promise<unknown> {
  if (response.status === 204 || response.status === 304) return undefined;
  if (!isOfType(response, isText ? 'text/plain' : 'application/json')) throw notOfCardea(response);
  const text = await response.text();
  return isText ? text : (JSON.parse(text) as unknown);
}

function isOfType({ headers }: Response, type: string): boolean {
  return headers.get('Content-Type')?.split(';')[0]?.trim() === type;
}
