import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';
import { Client } from './client.ts';
import type { Result, Session } from './client.ts';
import type { FrontDoor } from './front-door.ts';
import type { Ledger, SecretHistory } from './ledger.ts';

const WORKERS = 8;
const PAUSE_MS_MAX = 40;
// A client that is refused or cannot connect waits a moment, as a real client would.
const AFTER_FAILURE_MS = 50;
const OWN_SECRETS_MAX = 40;
const SHARED_SECRETS = 6;
// The vaults keep a thousand versions of a secret. The load changes to other secrets before old versions are destroyed.
const VERSIONS_WRITTEN_MAX = 900;
const LARGE_BYTES = 8_000;

/** The vaults that the load writes to. They must exist. */
export const loadVaults = ['own', 'shared'] as const;

/** The step that a worker repeats. */
type Step = (client: Client) => Promise<Result>;

/** Runs eight writers and eight readers, each with its own connection. */
export class Load {
  /** Rejects with the first violation of a worker. Resolves when all workers have ended. */
  readonly ended: Promise<unknown>;

  #state: 'running' | 'paused' | 'ending' = 'running';
  #idle = 0;

  constructor(connect: () => FrontDoor, trial: { ledger: Ledger; session: Session; seed: string }) {
    const { ledger, session, seed } = trial;
    const workers: Promise<void>[] = [];
    for (let number = 0; number < WORKERS; number += 1) {
      for (const kind of [writer, reader]) {
        const random = seededRandom(`${seed}/${kind.name}/${number}`);
        const client = new Client(connect(), ledger, session);
        workers.push(this.#run(client, random, kind({ ledger, random, number })));
      }
    }
    this.ended = Promise.all(workers);
    // The trial races with this promise later. Until then a rejection must not count as unhandled.
    this.ended.catch(() => undefined);
  }

  /** Resolves when no request is under way any more. */
  async pause(): Promise<void> {
    this.#state = 'paused';
    while (this.#idle < 2 * WORKERS) await Promise.race([sleep(10), this.ended]);
  }

  resume(): void {
    this.#state = 'running';
  }

  async end(): Promise<void> {
    this.#state = 'ending';
    await this.ended;
  }

  async #run(client: Client, random: Random, step: Step): Promise<void> {
    while (this.#state !== 'ending') {
      if (this.#state === 'paused') await this.#wait();
      const result = await step(client);
      await sleep(result === 'answered' ? random.below(PAUSE_MS_MAX) : AFTER_FAILURE_MS);
    }
    client.close();
  }

  async #wait(): Promise<void> {
    this.#idle += 1;
    while (this.#state === 'paused') await sleep(10);
    this.#idle -= 1;
  }
}

interface Worker {
  ledger: Ledger;
  random: Random;
  number: number;
}

/** Writes new versions of its own and of shared secrets, and makes new secrets. Sends half of the lost writes again. */
function writer({ ledger, random, number }: Worker): Step {
  const own: SecretHistory[] = [];
  let count = 0;
  let unsure: { secret: SecretHistory; value: string } | undefined;

  function choose(): SecretHistory {
    if (random.chance(0.3)) return chooseShared();
    const [first, ...others] = own.filter(hasRoom);
    const isFull = others.length + 1 >= OWN_SECRETS_MAX;
    if (first && (isFull || random.chance(0.8))) return random.pick([first, ...others]);
    const made = ledger.secret('own', `w${number}/s${own.length}`);
    own.push(made);
    return made;
  }

  function chooseShared(): SecretHistory {
    const number = random.below(SHARED_SECRETS);
    for (let generation = 0; ; generation += 1) {
      const secret = ledger.secret('shared', `s${number}/${generation}`);
      if (hasRoom(secret)) return secret;
    }
  }

  function nextValue(secret: SecretHistory): string {
    const current = secret.known.get(secret.newest);
    // An identical value makes no new version.
    if (current !== undefined && random.chance(0.05)) return current;
    const text = `${secret.path} by writer ${number}, ${count++}`;
    return random.chance(0.05) ? text.padEnd(LARGE_BYTES, '.') : text;
  }

  return async (client) => {
    const secret = unsure?.secret ?? choose();
    const value = unsure?.value ?? nextValue(secret);
    const result = await client.write(secret, value);
    unsure = result !== 'answered' && random.chance(0.5) ? { secret, value } : undefined;
    return result;
  };
}

function hasRoom(secret: SecretHistory): boolean {
  return secret.newest < VERSIONS_WRITTEN_MAX;
}

/** Reads secrets and their versions, sometimes a version that may not exist. Lists a vault now and then. */
function reader({ ledger, random }: Worker): Step {
  return async (client) => {
    if (random.chance(0.1)) return client.list(random.pick(loadVaults));
    const [first, ...others] = ledger.secrets();
    if (!first) return 'unreachable';
    const secret = random.pick([first, ...others]);
    if (secret.newest === 0 || random.chance(0.5)) return client.read(secret);
    return client.read(secret, 1 + random.below(secret.newest + (random.chance(0.1) ? 1 : 0)));
  };
}
