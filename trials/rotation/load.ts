import { setTimeout as sleep } from 'node:timers/promises';
import { VERSIONS_MAX } from '@cardea/contracts/vaults';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';
import {
  deleteVault,
  moveSecret,
  readSecret,
  restoreSecret,
  rollBackSecret,
  trashSecret,
  writeSecret,
} from './changes.ts';
import type { Client } from './client.ts';
import type { Filler } from './fill.ts';
import type { KnownSecret, KnownVault } from './known-secrets.ts';

const CHANGERS = 4;
const READERS = 6;
const CHANGE_PAUSE_MS_MAX = 60;
const READ_PAUSE_MS_MAX = 25;

/** Clients that use the vaults until they are told to stop. */
export interface Load {
  /** Rejects with the first violation. Resolves after `end`. */
  readonly ended: Promise<unknown>;
  /** How many changes of each kind were made. */
  readonly counts: Map<string, number>;
  end(): Promise<void>;
}

/** What all clients of the load share. */
export interface LoadContext {
  vaults: KnownVault[];
  filler: Filler;
  seed: string;
  createClient(): Client;
}

/**
 * Starts four clients that change the vaults, each its own ones, and six that read all of them. A change is to write, roll
 * back, move, put into the trash, restore, or delete a whole vault and fill another one.
 */
export function startLoad({ vaults, filler, seed, createClient }: LoadContext): Load {
  const counts = new Map<string, number>();
  const stop = new AbortController();

  async function run(step: (client: Client) => Promise<unknown>, pause: () => number): Promise<void> {
    const client = createClient();
    while (!stop.signal.aborted) {
      await step(client);
      await sleep(pause());
    }
    client.close();
  }

  const changers = Array.from({ length: CHANGERS }, (_, number) => {
    const random = seededRandom(`${seed}/changer/${number}`);
    const changer = { random, filler, counts, vaults, own: vaults.filter((_vault, i) => i % CHANGERS === number) };
    return run(
      (client) => changeOnce(client, changer),
      () => random.below(CHANGE_PAUSE_MS_MAX),
    );
  });
  const readers = Array.from({ length: READERS }, (_, number) => {
    const random = seededRandom(`${seed}/reader/${number}`);
    return run(
      (client) => readOnce(client, random, vaults),
      () => random.below(READ_PAUSE_MS_MAX),
    );
  });
  const ended = Promise.all([...changers, ...readers]);
  // The trial races with this promise later. Until then a rejection must not count as unhandled.
  ended.catch(() => undefined);
  return {
    ended,
    counts,
    async end() {
      stop.abort();
      await ended;
    },
  };
}

async function readOnce(client: Client, random: Random, vaults: KnownVault[]): Promise<void> {
  const secret = chooseSecret(random, vaults);
  if (!secret) return;
  await readSecret(client, secret, random.chance(0.5) ? undefined : 1 + random.below(secret.values.length));
}

interface Changer {
  random: Random;
  filler: Filler;
  counts: Map<string, number>;
  /** All vaults of the trial. */
  vaults: KnownVault[];
  /** The vaults that only this client changes. */
  own: KnownVault[];
}

async function changeOnce(client: Client, changer: Changer): Promise<void> {
  const { random, own } = changer;
  const secret = chooseSecret(random, own);
  if (!secret) return;
  const kind = secret.isTrashed ? 'restore' : chooseChange(random);
  changer.counts.set(kind, (changer.counts.get(kind) ?? 0) + 1);
  if (kind === 'delete vault') await replaceVault(client, changer, secret.vault);
  else await changeSecret(client, changer, secret, kind);
}

type Change = 'write' | 'roll back' | 'move' | 'trash' | 'restore';

function chooseChange(random: Random): Change | 'delete vault' {
  const choice = random.below(1_000);
  if (choice < 500) return 'write';
  if (choice < 700) return 'roll back';
  if (choice < 850) return 'move';
  if (choice < 996) return 'trash';
  return 'delete vault';
}

async function changeSecret(client: Client, changer: Changer, secret: KnownSecret, change: Change): Promise<void> {
  const { random, own, filler } = changer;
  const { values } = secret;
  switch (change) {
    case 'write':
      if (values.length < VERSIONS_MAX) await writeSecret(client, secret, filler.newValue());
      return;
    case 'roll back': {
      const version = 1 + random.below(values.length);
      const isOther = values[version - 1] !== values.at(-1);
      if (isOther && values.length < VERSIONS_MAX) await rollBackSecret(client, secret, version);
      return;
    }
    case 'move':
      return moveSecret(client, secret, { vault: own[random.below(own.length)]!, name: filler.newName() });
    case 'trash':
      return trashSecret(client, secret);
    case 'restore':
      return restoreSecret(client, secret);
  }
}

async function replaceVault(client: Client, { vaults, own, filler }: Changer, doomed: KnownVault): Promise<void> {
  for (const list of [vaults, own]) list.splice(list.indexOf(doomed), 1);
  await deleteVault(client, doomed);
  const filled = await filler.fillVault(client);
  for (const list of [vaults, own]) list.push(filled);
}

function chooseSecret(random: Random, vaults: KnownVault[]): KnownSecret | undefined {
  const secrets = vaults[random.below(vaults.length)]?.secrets ?? [];
  return secrets[random.below(secrets.length)];
}
