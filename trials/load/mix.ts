import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';
import type { Answer, FrontDoor, HttpRequest } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';

/** The vault that the mix uses. */
export const VAULT = 'mix';

const API = '/api/v1';
const SECRETS_EACH = 10;
const PAGE = 20;

/** How many of a hundred requests are of which kind. The others are writes. */
export interface Shares {
  read: number;
  list: number;
}

/** Sends a request of a kind until it is answered as it should, and returns the answer. @throws Violation */
export type Send = (action: string, request: HttpRequest) => Promise<Answer>;

/** How a mix is made. */
export interface MixOptions {
  clients: number;
  seed: string;
  shares: Shares;
  /** How long a client waits between two requests. */
  pauseMs: number;
  /** A new connection for one client. */
  connect(): FrontDoor;
  /** Makes the function with which one client sends. */
  createSend(door: FrontDoor): Send;
}

/** Clients that read, list and write until they are stopped. Each has secrets of its own, and knows what they hold. */
export interface Mix {
  shares: Shares;
  /** Rejects with the first violation. Resolves after `stop`. */
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}

/** Starts a mix in the vault `mix`, which must exist. Each client writes its secrets once before it begins. */
export function startMix(options: MixOptions): Mix {
  const stopping = new AbortController();
  const mix = { shares: options.shares };
  const clients = Array.from({ length: options.clients }, async (_, number) => {
    const door = options.connect();
    const client = new MixClient(number, options.createSend(door), seededRandom(`${options.seed}/${number}`));
    await client.fill();
    while (!stopping.signal.aborted) {
      await client.step(mix.shares);
      if (options.pauseMs > 0) await sleep(options.pauseMs);
    }
    door.close();
  });
  const ended = Promise.all(clients);
  // The trial races with this promise later. Until then a rejection must not count as unhandled.
  ended.catch(() => undefined);
  return Object.assign(mix, {
    ended,
    async stop() {
      stopping.abort();
      await ended;
    },
  });
}

class MixClient {
  readonly #number: number;
  readonly #send: Send;
  readonly #random: Random;
  /** The acknowledged values, by name. Nobody else writes these secrets. */
  readonly #values = new Map<string, string>();
  #writes = 0;

  constructor(number: number, send: Send, random: Random) {
    this.#number = number;
    this.#send = send;
    this.#random = random;
  }

  async fill(): Promise<void> {
    for (let index = 0; index < SECRETS_EACH; index += 1) await this.#write(`c${this.#number}/s${index}`);
  }

  async step({ read, list }: Shares): Promise<void> {
    const choice = this.#random.below(100);
    const name = `c${this.#number}/s${this.#random.below(SECRETS_EACH)}`;
    if (choice < read) await this.#read(name);
    else if (choice < read + list) await this.#list();
    else await this.#write(name);
  }

  async #write(name: string): Promise<void> {
    const value = `${name} ${(this.#writes += 1)} ${'x'.repeat(this.#writes % 100)}`;
    await this.#send('secret.write', { method: 'PUT', path: pathOf(name), body: { value } });
    this.#values.set(name, value);
  }

  async #read(name: string): Promise<void> {
    const { text } = await this.#send('secret.read', { method: 'GET', path: pathOf(name) });
    const { value } = JSON.parse(text) as { value: string };
    const known = this.#values.get(name);
    if (value !== known) throw new Violation(`${name} is ${value}, and ${known} was acknowledged`);
  }

  async #list(): Promise<void> {
    const path = `${API}/vaults/${VAULT}/secrets?limit=${PAGE}`;
    const { text } = await this.#send('secret.list', { method: 'GET', path });
    const { items } = JSON.parse(text) as { items: unknown[] };
    if (items.length === 0) throw new Violation('a list is empty');
  }
}

function pathOf(name: string): string {
  return `${API}/vaults/${VAULT}/secrets/${name}`;
}
