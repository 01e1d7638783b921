import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@cardea/testkit/random';
import type { Random } from '@cardea/testkit/random';
import { Client } from './client.ts';
import type { Trial } from './client.ts';
import type { Outcome, Request } from './operations.ts';

const CLIENTS = 8;
const NAMES = 16;
// A client that gets no answer waits a moment, as a real client would.
const AFTER_LOSS_MS = 20;

/** Runs eight clients that call sixteen names, with calls that the seed chooses, until `stop` aborts. */
export async function runLoad(trial: Trial, { seed, stop }: { seed: string; stop: AbortSignal }): Promise<void> {
  const failed = new AbortController();
  const ended = AbortSignal.any([stop, failed.signal]);
  const newest = new Map<string, number>();
  const clients = Array.from({ length: CLIENTS }, async (_, number) => {
    const random = seededRandom(`${seed}/${number}`);
    const client = new Client(trial, { number, random });
    try {
      for (let count = 0; !ended.aborted; count += 1)
        await callOnce(client, { random, newest, value: `${number}.${count}` });
    } catch (error) {
      failed.abort();
      throw error;
    } finally {
      client.close();
    }
  });
  await Promise.all(clients);
}

interface Turn {
  random: Random;
  /** The newest version of each name in any answer so far. Often a newer version exists already. */
  newest: Map<string, number>;
  /** No other call writes this value. */
  value: string;
}

async function callOnce(client: Client, turn: Turn): Promise<void> {
  const { random, newest } = turn;
  // Some names are called far more often than others, so that calls overlap.
  const name = `s${Math.min(...[NAMES, NAMES, NAMES].map(random.below))}`;
  const outcome = await client.send(name, chooseRequest(turn, newest.get(name) ?? 0));
  const version = versionIn(outcome);
  if (version !== undefined) newest.set(name, Math.max(version, newest.get(name) ?? 0));
  if (outcome.is === 'lost') await sleep(AFTER_LOSS_MS);
}

function versionIn(outcome: Outcome): number | undefined {
  return 'version' in outcome ? outcome.version : undefined;
}

function chooseRequest({ random, value }: Turn, newest: number): Request {
  const choice = random.below(100);
  if (choice < 15) return { kind: 'put', value };
  if (choice < 28) return { kind: 'put', value, ifMatch: newest };
  if (choice < 34) return { kind: 'put', value, ifAbsent: true };
  // The same value, written several times in a row, makes one version.
  if (choice < 38) return { kind: 'put', value: 'the same' };
  if (choice < 62) return { kind: 'get' };
  if (choice < 72) return { kind: 'get', unlessVersion: newest };
  if (choice < 84) return { kind: 'get', version: 1 + random.below(newest + 1) };
  if (choice < 90) return { kind: 'delete' };
  if (choice < 93) return { kind: 'delete', ifMatch: newest };
  return { kind: 'restore' };
}
