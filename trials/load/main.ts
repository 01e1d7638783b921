// Puts sustained load on a real Cardea of profile full through nginx with TLS: first audited reads only, then a mix of 80
// reads, 15 lists and 5 writes in a hundred requests. Each part lasts half of the time:
//   pnpm test:load [minutes] [clients]
// Prints the rate, the latency, the memory and the file descriptors of each minute. It exits with 1 if a request fails, or if
// something holds more and more after the first two minutes of a part.
import { createHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { runOn } from '../faults/run-on.ts';
import { startStack } from '../faults/stack.ts';
import type { Stack } from '../faults/stack.ts';
import { Client } from '../kill/client.ts';
import type { FrontDoor } from '../kill/front-door.ts';
import { Ledger, Violation } from '../kill/ledger.ts';
import { startMix, VAULT } from './mix.ts';
import type { Mix, Send, Shares } from './mix.ts';
import { WARM_UP_MINUTES, grownAfterWarmUp, lesserOf, readHeld, renderHeld } from './resources.ts';
import type { Held } from './resources.ts';

const READS: Shares = { read: 100, list: 0 };
const MIX: Shares = { read: 80, list: 15 };
const SAMPLE_EVERY_MS = 5 * SECOND_MS;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 3 * MINUTE_MS;

const [minutesWanted = '10', clientsWanted = '64'] = process.argv.slice(2);
const [minutes, clients] = [Number(minutesWanted), Number(clientsWanted)];
if (!Number.isInteger(minutes) || minutes < 2 || !Number.isInteger(clients) || clients < 1) {
  process.stderr.write('usage: pnpm test:load [minutes, at least 2] [clients]\n');
  process.exit(78);
}

await runOn('load', (folder) => startStack(folder, { durable: true }), runTrial);

async function runTrial(stack: Stack): Promise<void> {
  const { session, renewal } = await signIn(stack);
  const counts = createCounts();
  const mix = startMix({
    clients,
    seed: 'load',
    shares: READS,
    pauseMs: 0,
    connect: stack.connect,
    createSend: (door) => sendOnce(door, { session, counts }),
  });
  const half = Math.floor(minutes / 2);
  const trial = { stack, mix, counts, renewal };
  const grown = [
    ...(await spendPart(trial, { name: 'audited reads', shares: READS, lasts: half })),
    ...(await spendPart(trial, { name: 'mix', shares: MIX, lasts: minutes - half })),
  ];
  renewal.stop();
  await mix.stop();

  if (counts.lastEntry + 1 < counts.total)
    throw new Violation(`the log has ${counts.lastEntry + 1} entries for ${counts.total} answers`);
  if (grown.length > 0) throw new Violation(`more is held than after ${WARM_UP_MINUTES} minutes:\n${grown.join('\n')}`);
  say(`\n${counts.total} requests, all of them answered and recorded, and nothing grows`);
}

/** Begins a session and makes the vault. The session is renewed until `stop`; `failed` rejects if that fails. */
async function signIn({ connect, full }: Stack) {
  const session = { token: '' };
  const client = new Client(connect(), new Ledger(), session);
  const begin = async () => {
    if (!(await client.signIn(full.password))) throw new Violation('a sign-in was not answered');
  };
  await begin();
  await client.createVault(VAULT);
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => undefined);
  const timer = setInterval(() => void begin().catch(reject), NEW_SESSION_MS);
  return { session, renewal: { failed, stop: () => clearInterval(timer) } };
}

/** What the clients got. */
interface Counts {
  total: number;
  /** Since the last minute. */
  answered: number;
  latencyMicroseconds: ReturnType<typeof createHistogram>;
  /** The highest position of an entry in a receipt. */
  lastEntry: number;
}

function createCounts(): Counts {
  return { total: 0, answered: 0, latencyMicroseconds: createHistogram(), lastEntry: 0 };
}

/** Sends a request once. @throws Violation if it is not answered as it should */
function sendOnce(door: FrontDoor, { session, counts }: { session: { token: string }; counts: Counts }): Send {
  return async (action, request) => {
    const began = performance.now();
    const outcome = await door.send({ ...request, token: session.token });
    if (outcome.kind !== 'answered') throw new Violation(`${action} was not answered: ${outcome.kind}`);
    const { status, text, receipt } = outcome;
    if (status !== 200 && status !== 201) throw new Violation(`${action} was answered ${status}: ${text}`);
    if (!receipt) throw new Violation(`${action} has no receipt`);
    counts.total += 1;
    counts.answered += 1;
    counts.lastEntry = Math.max(counts.lastEntry, receipt.seq);
    counts.latencyMicroseconds.record(Math.max(1, Math.round((performance.now() - began) * 1_000)));
    return outcome;
  };
}

interface Trial {
  stack: Stack;
  mix: Mix;
  counts: Counts;
  renewal: { failed: Promise<never> };
}

/** Lets the clients go on for some minutes, and prints each. Returns what has grown after the warm-up. */
async function spendPart(
  trial: Trial,
  { name, shares, lasts }: { name: string; shares: Shares; lasts: number },
): Promise<string[]> {
  const { mix, counts } = trial;
  mix.shares = shares;
  const byMinute: Map<string, Held>[] = [];
  for (let minute = 1; minute <= lasts; minute += 1) {
    counts.answered = 0;
    counts.latencyMicroseconds.reset();
    const held = await spendMinute(trial);
    byMinute.push(held);
    say(renderMinute(`${name}, minute ${minute}`, counts, held));
  }
  return grownAfterWarmUp(byMinute);
}

/** Waits for a minute. Returns the least that each part held in it: what stays after the garbage is collected. */
async function spendMinute({ stack, mix, renewal }: Trial): Promise<Map<string, Held>> {
  const endsAt = performance.now() + MINUTE_MS;
  let least = readHeld(stack);
  for (let leftMs = MINUTE_MS; leftMs > 0; leftMs = endsAt - performance.now()) {
    await Promise.race([sleep(Math.min(SAMPLE_EVERY_MS, leftMs)), mix.ended, renewal.failed]);
    const now = readHeld(stack);
    least = new Map([...least].map(([name, held]) => [name, lesserOf(held, now.get(name)!)]));
  }
  return least;
}

function renderMinute(name: string, { answered, latencyMicroseconds }: Counts, held: Map<string, Held>): string {
  const ms = (percentile: number) => (latencyMicroseconds.percentile(percentile) / 1_000).toFixed(1);
  const rate = Math.round((answered * SECOND_MS) / MINUTE_MS);
  const parts = [...held].map(([part, of]) => `${part} ${renderHeld(of)}`).join(', ');
  return `${name}: ${rate}/s, p50 ${ms(50)} ms, p99 ${ms(99)} ms\n  ${parts}`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
