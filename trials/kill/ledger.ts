import type { Answer, Outcome } from './front-door.ts';

/** Cardea broke a promise. The message says which one. */
export class Violation extends Error {
  override name = 'Violation';
}

/** The entry that the audit log must have exactly once for an answer. */
export interface Expected {
  requestId: string;
  action: string;
  decision: 'allow' | 'deny';
  /** The position of the entry by the receipt. A refusal has no receipt. */
  receipt: { seq: number; leaf: string } | undefined;
  /** How many entries the request has. The receipt is for the first one. */
  entries: number;
}

/** What is special about a request. */
export interface NoteOptions {
  /** How many entries it has if it is done: more than 1 if it changes several secrets. */
  entries?: number;
  /** A refusal that may occur, other than 404. */
  mayBe?: number;
}

/** All requests and answers of a trial: everything that Cardea must not lose. */
export class Ledger {
  readonly answers: Expected[] = [];
  readonly vaults: string[] = [];
  readonly counts = { writes: 0, reads: 0, others: 0, refusals: 0, unavailable: 0, cut: 0, unsent: 0 };

  readonly #secrets = new Map<string, SecretHistory>();

  /** Returns the history of one secret. Begins it if the secret is new. */
  secret(vault: string, name: string): SecretHistory {
    const path = `${vault}/secrets/${name}`;
    const known = this.#secrets.get(path) ?? new SecretHistory(path);
    this.#secrets.set(path, known);
    return known;
  }

  secrets(): SecretHistory[] {
    return [...this.#secrets.values()];
  }

  /**
   * Records the outcome of a request. Returns an answer of 2xx, 404 or `mayBe`, or undefined if it is unknown whether the
   * request was done.
   * @throws Violation for an answer that must not occur, or that lacks its request id, its receipt or its Retry-After
   */
  note(action: string, outcome: Outcome, { entries = 1, mayBe = 404 }: NoteOptions = {}): Answer | undefined {
    if (outcome.kind !== 'answered') {
      this.counts[outcome.kind] += 1;
      return undefined;
    }
    const { status, requestId, receipt, text, retryAfterSeconds } = outcome;
    if (requestId === '') throw new Violation(`${action} was answered ${status} without X-Request-Id`);
    if (status === 503) {
      if (retryAfterSeconds === undefined) throw new Violation(`${action} (${requestId}): 503 without Retry-After`);
      this.counts.unavailable += 1;
      return undefined;
    }
    const allowed = status >= 200 && status < 300;
    if (!allowed && status !== 404 && status !== mayBe)
      throw new Violation(`${action} (${requestId}) was answered ${status}: ${text}`);
    if (allowed && !receipt) throw new Violation(`${action} (${requestId}) was answered ${status} without a receipt`);
    this.counts[allowed ? kindOf(action) : 'refusals'] += 1;
    const decision = allowed ? 'allow' : 'deny';
    this.answers.push({ requestId, action, decision, receipt, entries: allowed ? entries : 1 });
    return outcome;
  }
}

function kindOf(action: string): 'writes' | 'reads' | 'others' {
  if (action === 'secret.write') return 'writes';
  return action === 'secret.read' ? 'reads' : 'others';
}

/** What a client knows of a secret from its requests and their answers. */
export class SecretHistory {
  /** `<vault>/secrets/<name>` */
  readonly path: string;
  /** The newest version in any answer. No later answer may have an older version as the newest. */
  newest = 0;
  /** The values in answers, by version. */
  readonly known = new Map<number, string>();

  /** How many times each value was sent. Only a value that was sent may be stored. */
  readonly #sent = new Map<string, number>();
  readonly #made = new Set<number>();

  constructor(path: string) {
    this.path = path;
  }

  send(value: string): void {
    this.#sent.set(value, this.timesSent(value) + 1);
  }

  timesSent(value: string): number {
    return this.#sent.get(value) ?? 0;
  }

  /** Records an acknowledged write. `floor` is the value of `newest` when the write was sent. */
  written(write: { version: number; changed: boolean; value: string; floor: number }): void {
    const { version, changed, value, floor } = write;
    if (changed ? version <= floor : version < floor) {
      throw new Violation(`${this.path}: version ${version} was made after version ${floor} was acknowledged`);
    }
    if (changed && this.#made.has(version)) throw new Violation(`${this.path}: version ${version} was made twice`);
    if (changed) this.#made.add(version);
    this.#learn(version, value);
  }

  /**
   * Records a value that was read: of the version `wanted`, or of the newest version if it is undefined. `floor` is the
   * value of `newest` when the read was sent.
   */
  read(read: { version: number; value: string; wanted: number | undefined; floor: number }): void {
    const { version, value, wanted, floor } = read;
    if (wanted !== undefined && version !== wanted) {
      throw new Violation(`${this.path}: a read of version ${wanted} was answered with version ${version}`);
    }
    if (wanted === undefined && version < floor) {
      throw new Violation(`${this.path}: version ${version} is read as the newest after ${floor} was acknowledged`);
    }
    this.#learn(version, value);
  }

  #learn(version: number, value: string): void {
    const known = this.known.get(version);
    if (known !== undefined && known !== value) {
      throw new Violation(`${this.path}: version ${version} was ${brief(known)} and is now ${brief(value)}`);
    }
    if (this.timesSent(value) === 0) {
      throw new Violation(`${this.path}: version ${version} is ${brief(value)}, which was never written`);
    }
    this.known.set(version, value);
    this.newest = Math.max(this.newest, version);
  }
}

/** The first 60 characters of a value, enough to find it. */
export function brief(value: string): string {
  return value.length > 60 ? `${value.slice(0, 60)}…` : value;
}
