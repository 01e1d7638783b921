import { PASSWORD, createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { mannWhitney, median } from './rank-test.ts';

// Far below the real cost, so that hundreds of sign-ins fit into a minute, and still far above the difference to find.
const COST = { memoryKib: 8_192, passes: 1, parallelism: 1 };
const DIFFERENCE_MS = 1;
const P_MAX = 0.001;
const WARM_UP = 40;
// A name is locked after five failures, and an address after fifty.
const TRIES_PER_NAME = 4;
const TRIES_PER_ADDRESS = 40;
// After two thousand failures every client has to wait.
const SAMPLES_MAX = 900;

/** The most samples that the throttle lets through. */
export const SIGN_IN_SAMPLES_MAX = SAMPLES_MAX;

/**
 * Checks at the front door that the time of a failed sign-in does not reveal if the user exists (CVE-2025-6011). False if
 * the medians differ by more than a millisecond and the difference is significant.
 */
export async function timeSignIns(samples: number): Promise<boolean> {
  const system = await createTestSystem('mini', { CARDEA_TRUSTED_PROXIES: '1' });
  try {
    await makeUsers(system, samples);
    const { known, unknown } = await measure(system, samples);
    return report(known, unknown);
  } finally {
    await system[Symbol.asyncDispose]();
  }
}

async function makeUsers(system: TestSystem, samples: number): Promise<void> {
  system.passwordCost = COST;
  await system.stopService('api');
  await system.startService('api');
  const admin = await system.as('admin');
  for (let at = 0; at < samples / TRIES_PER_NAME; at += 1) {
    await admin.post('/users', { username: nameOf('known', at), role: 'developer', password: PASSWORD }).expect(201);
  }
}

async function measure(system: TestSystem, samples: number): Promise<{ known: number[]; unknown: number[] }> {
  for (let at = 0; at < WARM_UP; at += 1) await timeSignIn(system, `warm-up-${at}`, '198.51.100.1');
  const times = { known: [] as number[], unknown: [] as number[] };
  for (let at = 0; at < samples; at += 1) {
    const name = Math.floor(at / TRIES_PER_NAME);
    const address = `192.0.2.${Math.floor((2 * at) / TRIES_PER_ADDRESS)}`;
    // In turns and in random order, so that other work on this machine affects both.
    const kinds = Math.random() < 0.5 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const);
    for (const kind of kinds) times[kind].push(await timeSignIn(system, nameOf(kind, name), address));
  }
  return times;
}

/** Milliseconds from the request to the whole answer. @throws Error unless the answer is 401 */
async function timeSignIn(system: TestSystem, username: string, address: string): Promise<number> {
  const headers = { 'Content-Type': 'application/json', 'X-Forwarded-For': address };
  const body = JSON.stringify({ username, password: 'not the password' });
  const began = performance.now();
  const answer = await fetch(`${system.url}/api/v1/auth/login`, { method: 'POST', headers, body });
  await answer.text();
  const took = performance.now() - began;
  if (answer.status !== 401) throw new Error(`a sign-in with a wrong password was answered ${answer.status}, not 401`);
  return took;
}

/** Prints the figures. Returns false if the two kinds of sign-in can be told apart. */
function report(known: number[], unknown: number[]): boolean {
  const difference = median(known) - median(unknown);
  const { p } = mannWhitney(known, unknown);
  const differs = Math.abs(difference) > DIFFERENCE_MS && p < P_MAX;
  process.stdout.write(
    [
      `failed sign-ins of each kind   ${known.length}, argon2id m=${COST.memoryKib} KiB t=${COST.passes}`,
      `median, a user who exists      ${ms(median(known))}`,
      `median, an unknown user        ${ms(median(unknown))}`,
      `difference                     ${ms(difference)} (more than ${DIFFERENCE_MS} ms is too much)`,
      `Mann-Whitney U test            p = ${p.toPrecision(3)} (less than ${P_MAX} is significant)`,
      differs ? 'FAILED: the two can be told apart' : 'ok: the two cannot be told apart',
      '',
    ].join('\n'),
  );
  return !differs;
}

function ms(value: number): string {
  return `${value.toFixed(3)} ms`;
}

// Both kinds of names have the same length, so that the requests have the same length.
function nameOf(kind: 'known' | 'unknown', at: number): string {
  return `${kind === 'known' ? 'known' : 'other'}-${String(at).padStart(5, '0')}`;
}
