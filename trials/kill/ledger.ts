import type { Answer, Outcome } from './front-door.ts';

/** Cardea broke a promise; the message says which. */
export class Violation extends Error {
  override name = 'Violation';
}

/** What the audit log must have about an answer, exactly once. */
export interface Expected {
  requestId: string;
  action: string;
  decision: 'allow' | 'deny';
  /** Where the receipt says the entry is; a refusal has none. */
  receipt: { seq: number; leaf: string } | undefined;
}

/** All that was asked and answered, and so all that Cardea may no longer lose. */
export class Ledger {
  readonly answers: Expected[] = [];
  readonly vaults: string[] = [];
  readonly counts = { writes: 0, reads: 0, others: 0, refusals: 0, unavailable: 0, cut: 0, unsent: 0 };

  readonly #secrets = new Map<string, SecretHistory>();

  /** What is known of one secret, from now on if it was unknown. */
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
   * Notes how a request ended, and hands on an answer that was given: 2xx or 404. Undefined means that nobody knows.
   * @throws Violation for an answer that must not come, or that comes without what ties it to the audit log
   */
  note(action: string, outcome: Outcome): Answer | undefined {
    if (outcome.kind !== 'answered') {
      this.counts[outcome.kind] += 1;
      return undefined;
    }
    const { status, requestId, receipt, text } = outcome;
    if (requestId === '') throw new Violation(`${action} was answered ${status} without X-Request-Id`);
    if (status === 503) {
      this.counts.unavailable += 1;
      return undefined;
    }
    const allowed = status >= 200 && status < 300;
    if (!allowed && status !== 404) throw new Violation(`${action} (${requestId}) was answered ${status}: ${text}`);
    if (allowed && !receipt) throw new Violation(`${action} (${requestId}) was answered ${status} without a receipt`);
    this.counts[allowed ? kindOf(action) : 'refusals'] += 1;
    this.answers.push({ requestId, action, decision: allowed ? 'allow' : 'deny', receipt });
    return outcome;
  }
}

function kindOf(action: string): 'writes' | 'reads' | 'others' {
  if (action === 'secret.write') return 'writes';
  return action === 'secret.read' ? 'reads' : 'others';
}

/** What may be known of a secret from outside, whatever was killed on the way. */
export class SecretHistory {
  /** `<vault>/secrets/<name>` */
  readonly path: string;
  /** The newest version that any answer told of: no later answer may tell of an older one as the newest. */
  newest = 0;
  /** Versions whose value an answer has told. */
  readonly known = new Map<number, string>();

  /** How often each value was sent. What was sent may be stored, and nothing else. */
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

  /** A write was acknowledged; `floor` is `newest` as it was when the write was sent. */
  written(write: { version: number; changed: boolean; value: string; floor: number }): void {
    const { version, changed, value, floor } = write;
    if (changed ? version <= floor : version < floor) {
      throw new Violation(`${this.path}: version ${version} was made after version ${floor} had been acknowledged`);
    }
    if (changed && this.#made.has(version)) throw new Violation(`${this.path}: version ${version} was made twice`);
    if (changed) this.#made.add(version);
    this.#learn(version, value);
  }

  /** A value was read; without `wanted` as the newest one, and then `floor` is `newest` as it was when it was asked for. */
  read(read: { version: number; value: string; wanted: number | undefined; floor: number }): void {
    const { version, value, wanted, floor } = read;
    if (wanted !== undefined && version !== wanted) {
      throw new Violation(`${this.path}: asked for version ${wanted}, got ${version}`);
    }
    if (wanted === undefined && version < floor) {
      throw new Violation(`${this.path}: version ${version} is the newest after ${floor} had been acknowledged`);
    }
    this.#learn(version, value);
  }

  #learn(version: number, value: string): void {
    const known = this.known.get(version);
    if (known !== undefined && known !== value) {
      throw new Violation(`${this.path}: version ${version} was ${brief(known)} and is ${brief(value)}`);
    }
    if (this.timesSent(value) === 0) {
      throw new Violation(`${this.path}: version ${version} is ${brief(value)}, which nobody wrote`);
    }
    this.known.set(version, value);
    this.newest = Math.max(this.newest, version);
  }
}

/** Enough of a value to find it by. */
export function brief(value: string): string {
  return value.length > 60 ? `${value.slice(0, 60)}…` : value;
}
