import { createWriteStream } from 'node:fs';
import { Agent, request as startRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
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
}

/** `cut`: the connection broke, so it is unknown whether the request was done. `unsent`: the connection was refused. */
export type Outcome = Answer | { kind: 'cut' } | { kind: 'unsent' };

/** One client with one kept-alive connection, over plain HTTP. It never sends a request again by itself. */
export class FrontDoor {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.#url = url;
  }

  /** Sends a request. Resolves with its outcome and never rejects. */
  async send(request: HttpRequest): Promise<Outcome> {
    try {
      const response = await this.#start(request);
      const bytes = await buffer(response);
      return response.complete ? toAnswer(response, bytes.toString()) : { kind: 'cut' };
    } catch (error) {
      return { kind: (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'unsent' : 'cut' };
    }
  }

  /** Writes the body of a successful answer into a file. @throws Error if the answer is not complete or not 200 */
  async download(request: HttpRequest, file: string): Promise<Answer> {
    const response = await this.#start(request);
    await pipeline(response, createWriteStream(file));
    if (response.statusCode !== 200) throw new Error(`${request.path} answered ${response.statusCode}`);
    return toAnswer(response, '');
  }

  close(): void {
    this.#agent.destroy();
  }

  #start({ method, path, token, body, headers: own, hangUp }: HttpRequest): Promise<IncomingMessage> {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...own,
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(json === undefined
        ? {}
        : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(json)) }),
    };
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = startRequest(this.#url + path, { method, headers, agent: this.#agent }, resolve);
      sent.setTimeout(PATIENCE_MS, () => sent.destroy(new Error('no answer')));
      sent.on('error', reject);
      if (json !== undefined && hangUp === 'within the body') {
        sent.write(json.slice(0, json.length / 2), () => sent.destroy());
        return;
      }
      sent.end(json);
      if (typeof hangUp === 'object') setTimeout(() => sent.destroy(), hangUp.afterMs);
    });
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
  };
}
