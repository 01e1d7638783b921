import { createWriteStream } from 'node:fs';
import { Agent, request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { buffer } from 'node:stream/consumers';

const PATIENCE_MS = 20_000;

/** One request. */
export interface Question {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  token?: string | undefined;
  body?: object;
  headers?: Record<string, string>;
  /** When the client hangs up by itself: so many milliseconds after it has sent everything, or in the middle of its body. */
  hangUp?: { afterMs: number } | 'within the body';
}

/** A whole answer, whatever its status. */
export interface Answer {
  kind: 'answered';
  status: number;
  text: string;
  requestId: string;
  /** What the header Cardea-Receipt says. */
  receipt: { seq: number; leaf: string } | undefined;
  /** Without its quotes. */
  etag: string | undefined;
}

/** `cut`: it may have been done, nobody can know. `unsent`: there was nobody to connect to. */
export type Outcome = Answer | { kind: 'cut' } | { kind: 'unsent' };

/** One client with one kept-alive connection, over plain HTTP. Nothing is ever sent twice by itself. */
export class FrontDoor {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves however it ends. */
  async ask(question: Question): Promise<Outcome> {
    try {
      const response = await this.#send(question);
      const bytes = await buffer(response);
      return response.complete ? toAnswer(response, bytes.toString()) : { kind: 'cut' };
    } catch (error) {
      return { kind: (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'unsent' : 'cut' };
    }
  }

  /** Writes the body of a successful answer into a file. @throws Error if there is no whole one */
  async download(question: Question, file: string): Promise<Answer> {
    const response = await this.#send(question);
    await pipeline(response, createWriteStream(file));
    if (response.statusCode !== 200) throw new Error(`${question.path} answered ${response.statusCode}`);
    return toAnswer(response, '');
  }

  close(): void {
    this.#agent.destroy();
  }

  #send({ method, path, token, body, headers: own, hangUp }: Question): Promise<IncomingMessage> {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...own,
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(json === undefined
        ? {}
        : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(json)) }),
    };
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = request(this.#url + path, { method, headers, agent: this.#agent }, resolve);
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
