import { createWriteStream } from 'node:fs';
import { Agent, request as startRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as startTlsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { buffer } from 'node:stream/consumers';

const PATIENCE_MS = 20_000;

/** One request of a client. */
export interface HttpRequest {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  token?: string | undefined;
  body?: object;
  headers?: Record<string, string>;
  /**
   * When the client closes the connection: a number of milliseconds after it has sent everything, or within the body.
   */
  hangUp?: { afterMs: number } | 'within the body';
}

/** A complete answer of any status. */
export interface Answer {
  kind: 'answered';
  status: number;
  text: string;
  requestId: string;
  /** From the header Cardea-Receipt. */
  receipt: { seq: number; leaf: string } | undefined;
  /** Without its quotes. */
  etag: string | undefined;
  /** From the header Retry-After. */
  retryAfterSeconds: number | undefined;
}

/**
 * `cut`: the connection broke, so it is unknown whether the request was done. `isReused` if an earlier request had used
 * that connection: then the server may have closed it before the request arrived, and HTTP lets a client send a GET, PUT or
 * DELETE again (RFC 9110, 9.2.2). `unsent`: the connection was refused.
 */
export type Outcome = Answer | { kind: 'cut'; isReused: boolean } | { kind: 'unsent' };

/** One client with one kept-alive connection. It never sends a request again by itself. */
export class FrontDoor {
  readonly #url: string;
  readonly #agent: Agent;
  readonly #startRequest: typeof startRequest;

  /** `ca`: the certificate (PEM) that has signed the one of an https URL. */
  constructor(url: string, ca?: string) {
    const isTls = url.startsWith('https:');
    const options = { keepAlive: true, maxSockets: 1 };
    this.#url = url;
    this.#agent = isTls ? new TlsAgent({ ...options, ...(ca === undefined ? {} : { ca }) }) : new Agent(options);
    this.#startRequest = isTls ? startTlsRequest : startRequest;
  }

  /** Sends a request. Resolves with its outcome and never rejects. */
  async send(request: HttpRequest): Promise<Outcome> {
    const { sent, responded } = this.#start(request);
    let response: IncomingMessage | undefined;
    try {
      response = await responded;
      const bytes = await buffer(response);
      return response.complete ? toAnswer(response, bytes.toString()) : { kind: 'cut', isReused: false };
    } catch (error) {
      const isRefused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
      return isRefused ? { kind: 'unsent' } : { kind: 'cut', isReused: sent.reusedSocket && response === undefined };
    }
  }

  /** Writes the body of a successful answer into a file. @throws Error if the answer is not complete or not 200 */
  async download(request: HttpRequest, file: string): Promise<Answer> {
    const response = await this.#start(request).responded;
    await pipeline(response, createWriteStream(file));
    if (response.statusCode !== 200) throw new Error(`${request.path} answered ${response.statusCode}`);
    return toAnswer(response, '');
  }

  close(): void {
    this.#agent.destroy();
  }

  #start({ method, path, token, body, headers: own, hangUp }: HttpRequest): {
    sent: ClientRequest;
    responded: Promise<IncomingMessage>;
  } {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...own,
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(json === undefined
        ? {}
        : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(json)) }),
    };
    const sent = this.#startRequest(this.#url + path, { method, headers, agent: this.#agent });
    const responded = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve);
      sent.on('error', reject);
    });
    sent.setTimeout(PATIENCE_MS, () => sent.destroy(new Error('no answer')));
    if (json !== undefined && hangUp === 'within the body') {
      sent.write(json.slice(0, json.length / 2), () => sent.destroy());
    } else {
      sent.end(json);
      if (typeof hangUp === 'object') setTimeout(() => sent.destroy(), hangUp.afterMs);
    }
    return { sent, responded };
  }
}

function toAnswer(response: IncomingMessage, text: string): Answer {
  const header = (name: string) => String(response.headers[name] ?? '');
  const [, seq, leaf] = /^seq=(\d+) leaf=(\S+)$/.exec(header('cardea-receipt')) ?? [];
  return {
    kind: 'answered',
    status: response.statusCode ?? 0,
    text,
    requestId: header('x-request-id'),
    receipt: seq === undefined || leaf === undefined ? undefined : { seq: Number(seq), leaf },
    etag: /^"(.+)"$/.exec(header('etag'))?.[1],
    retryAfterSeconds: response.headers['retry-after'] === undefined ? undefined : Number(header('retry-after')),
  };
}
