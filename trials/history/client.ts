import type { Random } from '@cardea/testkit/random';
import { FrontDoor } from '../kill/front-door.ts';
import type { Answer, HttpRequest } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import { userAgentOf } from './change-records.ts';
import type { Outcome, Request } from './operations.ts';
import type { Recorder } from './recorder.ts';

const HANG_UP = 0.04;
const HANG_UP_MS_MAX = 8;

/** The part of a trial that all its clients share. */
export interface Trial {
  url: string;
  vault: string;
  recorder: Recorder;
  /** A token of a user that may do everything in the vault. It may change between calls. */
  token(): Promise<string>;
}

/** One client with its own connection, which it sometimes closes in the middle of a request. */
export class Client {
  readonly #trial: Trial;
  readonly #number: number;
  readonly #random: Random;
  readonly #door: FrontDoor;

  constructor(trial: Trial, { number, random }: { number: number; random: Random }) {
    this.#trial = trial;
    this.#number = number;
    this.#random = random;
    this.#door = new FrontDoor(trial.url);
  }

  /** Sends a request and records its outcome. @throws Violation for an answer that the contract does not have */
  async send(name: string, request: Request): Promise<Outcome> {
    const { recorder, vault } = this.#trial;
    const token = await this.#trial.token();
    const httpRequest = toHttpRequest(`/api/v1/vaults/${vault}/secrets/${name}`, request);
    const call = recorder.begin({ client: this.#number, name, request });
    const headers = { ...httpRequest.headers, 'User-Agent': userAgentOf(call.invokedAt) };
    const answer = await this.#door.send({ ...httpRequest, headers, token, ...this.#hangUp() });
    // The connection was refused, so nothing was sent.
    if (answer.kind === 'unsent') return call.forget();
    if (answer.kind === 'cut') return call.end({ is: 'lost' });
    return call.end(toOutcome(request, answer), answer.receipt?.seq);
  }

  close(): void {
    this.#door.close();
  }

  #hangUp(): Pick<HttpRequest, 'hangUp'> {
    if (!this.#random.chance(HANG_UP)) return {};
    if (this.#random.chance(0.2)) return { hangUp: 'within the body' };
    return { hangUp: { afterMs: this.#random.below(HANG_UP_MS_MAX) } };
  }
}

function toHttpRequest(path: string, request: Request): HttpRequest {
  if (request.kind === 'restore') return { method: 'POST', path: `${path}:restore` };
  if (request.kind === 'delete') return { method: 'DELETE', path, headers: ifMatch(request.ifMatch) };
  if (request.kind === 'put') {
    const headers = { ...ifMatch(request.ifMatch), ...(request.ifAbsent ? { 'If-None-Match': '*' } : {}) };
    return { method: 'PUT', path, headers, body: { value: request.value } };
  }
  const { version, unlessVersion } = request;
  const headers: Record<string, string> = unlessVersion === undefined ? {} : { 'If-None-Match': `"${unlessVersion}"` };
  return { method: 'GET', path: version === undefined ? path : `${path}?version=${version}`, headers };
}

function ifMatch(version: number | undefined): Record<string, string> {
  return version === undefined ? {} : { 'If-Match': `"${version}"` };
}

function toOutcome(request: Request, answer: Answer): Outcome {
  const { status, text, etag } = answer;
  if (status === 503) return { is: 'lost' };
  if (status === 404 && request.kind !== 'put') return { is: 'missing' };
  if (status === 412) return { is: 'precondition failed' };
  if (status === 304) return { is: 'known already', version: Number(etag) };
  const outcome = successes[request.kind][status]?.(text === '' ? {} : (JSON.parse(text) as Body));
  if (outcome) return outcome;
  throw new Violation(`${JSON.stringify(request)} was answered ${status}: ${text}`);
}

interface Body {
  version?: number;
  value?: string;
  changed?: boolean;
}

const written = (isNew: boolean) => (body: Body) => {
  return { is: 'written', version: body.version!, changed: body.changed!, isNew } as const;
};

const successes: Record<Request['kind'], Record<number, (body: Body) => Outcome>> = {
  put: { 200: written(false), 201: written(true) },
  get: { 200: ({ version, value }) => ({ is: 'read', version: version!, value: value! }) },
  delete: { 204: () => ({ is: 'deleted' }) },
  restore: { 200: ({ version }) => ({ is: 'restored', version: version! }) },
};
