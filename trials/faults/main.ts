// Lets one thing after the other go wrong in a real Cardea of profile full behind nginx with TLS, under load: servers
// are restarted, killed, emptied, slowed down and cut off. Checks that nothing is lost:
//   pnpm test:faults [seconds] [seed] [fault]
// Each fault happens once, and again until the seconds are over. `fault` is a part of the names of those that happen.
// If a promise is broken, it exits with 1, names the first one, and prints where it leaves the keys and the log.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { VERSIONS_MAX } from '@cardea/contracts/vaults';
import { randomSecret } from '@cardea/crypto/ids';
import { checkEverything } from '../kill/checks.ts';
import { Client } from '../kill/client.ts';
import { untilWorking } from '../kill/kills.ts';
import { Ledger, Violation } from '../kill/ledger.ts';
import { Load, loadVaults } from '../kill/load.ts';
import { createClient } from '../rotation/client.ts';
import { faults } from './faults.ts';
import type { Fault } from './faults.ts';
import { runOn } from './run-on.ts';
import { startLinkedStack } from './stack.ts';
import type { LinkedStack } from './stack.ts';

/** All of Cardea must work again within this time after the end of a fault, and nobody helps it. */
const WORKS_WITHIN_MS = 15 * SECOND_MS;
const BETWEEN_MS = SECOND_MS;
const PROBE_EVERY_MS = 200;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 3 * MINUTE_MS;
const CLIENTS = 8;

let probes = 0;

const [secondsWanted = '0', seed = randomSecret(6), part = ''] = process.argv.slice(2);
const seconds = Number(secondsWanted);
const chosen = faults.filter(({ name }) => name.includes(part));
if (!Number.isInteger(seconds) || seconds < 0 || chosen.length === 0) {
  process.stderr.write('usage: pnpm test:faults [seconds] [seed] [fault]\n');
  process.exit(78);
}

say(`${chosen.length} faults, seed ${seed}`);
await runOn('faults', startLinkedStack, runTrial);

async function runTrial(stack: LinkedStack, folder: string): Promise<void> {
  // The links run in this process: if a busy machine does not let it run, every way stalls.
  const pauses = monitorEventLoopDelay();
  pauses.enable();
  const trial = await begin(stack);
  const { ledger, load, client } = trial;
  const began = performance.now();
  say(`${'fault'.padEnd(38)}${'bitten'.padEnd(30)}  2xx  503  cut  recovered after`);
  do {
    for (const fault of chosen) await Promise.race([sufferOnce(trial, fault), load.ended]);
  } while (performance.now() - began < seconds * SECOND_MS);
  await load.end();
  const lasted = (performance.now() - began) / SECOND_MS;
  const { writes, reads, others, refusals, unavailable, cut } = ledger.counts;

  await client.signIn(stack.full.password);
  const db = stack.full.openDatabase();
  const checked = await checkEverything({ ...trial, db, dataDir: stack.full.dataDir, folder, isResealed: true });
  await db.close();
  const endedByItself = [...stack.full.endedByItself].map(([how, times]) => `${how}, ${times} times`);
  say(`
in ${lasted.toFixed(0)} s ${writes} writes, ${reads} reads, ${others} others, ${refusals} answers were 404
${unavailable} answered 503 with Retry-After, ${cut} cut
ended itself: ${endedByItself.join('; ') || 'none'}
the machine let this trial wait for up to ${(pauses.max / 1e9).toFixed(2)} s
checked: ${checked.entries} entries, ${checked.versions} versions of ${checked.secrets} secrets: nothing is lost`);
}

type Trial = Awaited<ReturnType<typeof begin>>;

async function begin(stack: LinkedStack) {
  const [ledger, session] = [new Ledger(), { token: '' }];
  const clients = Array.from({ length: CLIENTS }, () => new Client(stack.connect(), ledger, session));
  const client = clients[0]!;
  await client.signIn(stack.full.password);
  for (const vault of loadVaults) await client.createVault(vault, VERSIONS_MAX);
  return {
    stack,
    ledger,
    clients,
    client,
    rotator: createClient(stack.connect(), { ledger, session }),
    load: new Load(stack.connect, { ledger, session, seed }),
    held: [] as string[],
    signedInAt: performance.now(),
  };
}

/** Lets a fault happen, and waits until everything works again. @throws Violation if it takes too long, or for a cut */
async function sufferOnce(trial: Trial, fault: Fault): Promise<void> {
  const { stack, ledger, client, rotator } = trial;
  await sleep(BETWEEN_MS);
  const before = { ...ledger.counts };
  const over = new AbortController();
  const probing = probe(trial, over.signal);
  // It is awaited when the fault is over. Until then a rejection must not count as unhandled.
  probing.catch(() => undefined);
  const bitten = await fault.act(stack, rotator);
  const overAt = performance.now();
  over.abort();
  await probing;
  await stack.full.untilReady(WORKS_WITHIN_MS);
  await untilWorking(trial, overAt + WORKS_WITHIN_MS);
  const recoveredMs = performance.now() - overAt;

  if (bitten === 0) throw new Violation(`${fault.name}: no ${fault.bites}, so it proves nothing`);
  const grown = (kind: keyof typeof before) => ledger.counts[kind] - before[kind];
  const cut = grown('cut') + grown('unsent');
  const counts = [grown('writes') + grown('reads') + grown('others'), grown('unavailable'), cut];
  const columns = counts.map((count) => String(count).padStart(5)).join('');
  say(
    `${fault.name.padEnd(38)}${`${bitten} ${fault.bites}`.padEnd(30)}${columns}  ${(recoveredMs / SECOND_MS).toFixed(2)} s`,
  );
  if (cut > 0 && !fault.cutsClients) throw new Violation(`${fault.name}: ${cut} requests were not answered`);
  const checkpoint = await client.readCheckpoint();
  if (checkpoint !== undefined) trial.held.push(checkpoint);
  await keepSession(trial);
}

/** Makes vaults while a fault lasts. A new vault needs kek-service, which the load does not: it has its DEKs already. */
async function probe({ clients }: Trial, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    // A vault that was made without an answer has taken its name.
    await clients[1]!.createVault(`during-${(probes += 1)}`);
    await sleep(PROBE_EVERY_MS);
  }
}

async function keepSession(trial: Trial): Promise<void> {
  const isDue = performance.now() - trial.signedInAt > NEW_SESSION_MS;
  if (isDue && (await trial.client.signIn(trial.stack.full.password))) trial.signedInAt = performance.now();
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
