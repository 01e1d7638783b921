import type { Random } from '@cardea/testkit/random';
import { FrontDoor } from '../kill/front-door.ts';
import type { Answer, Question as Request } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import type { Outcome, Question } from './operations.ts';
import type { Recorder } from './recorder.ts';

const HANG_UP = 0.04;
const HANG_UP_MS_MAX = 8;

/** What every client of a trial shares. */
export interface Trial {
  url: string;
  vault: string;
  recorder: Recorder;
  /** Of whoever may do everything in the vault; may be another one each time. */
  token(): Promise<string>;
}

/** One client with a connection of its own, which it hangs up now and then. */
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

  /** Asks, and has noted what came of it. @throws Violation for an answer that nothing explains */
  async ask(name: string, question: Question): Promise<Outcome> {
    const { recorder, vault } = this.#trial;
    const token = await this.#trial.token();
    const request = { ...toRequest(`/api/v1/vaults/${vault}/secrets/${name}`, question), token, ...this.#hangUp() };
    const call = recorder.begin({ client: this.#number, name, question });
    const answer = await this.#door.ask(request);
    // Nobody has taken the connection, so nothing was asked.
    if (answer.kind === 'unsent') return call.forget();
    return call.end(answer.kind === 'cut' ? { is: 'lost' } : toOutcome(question, answer));
  }

  close(): void {
    this.#door.close();
  }

  #hangUp(): Pick<Request, 'hangUp'> {
    if (!this.#random.chance(HANG_UP)) return {};
    if (this.#random.chance(0.2)) return { hangUp: 'within the body' };
    return { hangUp: { afterMs: this.#random.below(HANG_UP_MS_MAX) } };
  }
}

function toRequest(path: string, question: Question): Request {
  if (question.kind === 'restore') return { method: 'POST', path: `${path}:restore` };
  if (question.kind === 'delete') return { method: 'DELETE', path, headers: ifMatch(question.ifMatch) };
  if (question.kind === 'put') {
    const headers = { ...ifMatch(question.ifMatch), ...(question.ifAbsent ? { 'If-None-Match': '*' } : {}) };
    return { method: 'PUT', path, headers, body: { value: question.value } };
  }
  const { version, unlessVersion } = question;
  const headers: Record<string, string> = unlessVersion === undefined ? {} : { 'If-None-Match': `"${unlessVersion}"` };
  return { method: 'GET', path: version === undefined ? path : `${path}?version=${version}`, headers };
}

function ifMatch(version: number | undefined): Record<string, string> {
  return version === undefined ? {} : { 'If-Match': `"${version}"` };
}

function toOutcome(question: Question, answer: Answer): Outcome {
  const { status, text, etag } = answer;
  if (status === 503) return { is: 'lost' };
  if (status === 404 && question.kind !== 'put') return { is: 'missing' };
  if (status === 412) return { is: 'precondition failed' };
  if (status === 304) return { is: 'known already', version: Number(etag) };
  const outcome = successes[question.kind][status]?.(text === '' ? {} : (JSON.parse(text) as Body));
  if (outcome) return outcome;
  throw new Violation(`${JSON.stringify(question)} was answered ${status}: ${text}`);
}

interface Body {
  version?: number;
  value?: string;
  changed?: boolean;
}

const written = (isNew: boolean) => (body: Body) => {
  return { is: 'written', version: body.version!, changed: body.changed!, isNew } as const;
};

const successes: Record<Question['kind'], Record<number, (body: Body) => Outcome>> = {
  put: { 200: written(false), 201: written(true) },
  get: { 200: ({ version, value }) => ({ is: 'read', version: version!, value: value! }) },
  delete: { 204: () => ({ is: 'deleted' }) },
  restore: { 200: ({ version }) => ({ is: 'restored', version: version! }) },
};
