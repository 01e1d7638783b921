// Eight clients call sixteen secrets concurrently while connections are cut, services stop and processes are killed.
// One order of their calls must explain all answers. The audit log decides which of the calls without an answer were done:
//   pnpm test:history [seconds] [seed]
// Half of the time it uses a real Cardea of profile mini and kills its processes, and half of the time profile full and
// stops and starts its services. It exits with 1 and names the secrets whose answers no order explains.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomSecret } from '@cardea/crypto/ids';
import { openSqlite } from '@cardea/storage/sqlite';
import startTestServers from '@cardea/testkit/jest-global-setup';
import stopTestServers from '@cardea/testkit/jest-global-teardown';
import { prepareTestSystem } from '@cardea/testkit/system';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { Cardea } from '../kill/cardea.ts';
import { Client } from '../kill/client.ts';
import { FrontDoor } from '../kill/front-door.ts';
import { createKillCounts, killOnce, totalKills } from '../kill/kills.ts';
import { Ledger } from '../kill/ledger.ts';
import { seededRandom } from '@cardea/testkit/random';
import { chooseFault, disturb } from './faults.ts';
import { runLoad } from './load.ts';
import { Recorder } from './recorder.ts';
import { VERSIONS_KEPT, requireLinearizable } from './verdict.ts';
import type { Answerer } from './verdict.ts';

const START_WITHIN_MS = MINUTE_MS;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 4 * MINUTE_MS;
const VAULT = 'history';

const [secondsWanted = '60', seed = randomSecret(6)] = process.argv.slice(2);
const seconds = Number(secondsWanted);
if (!Number.isInteger(seconds) || seconds < 2) {
  process.stderr.write('usage: pnpm test:history [seconds] [seed]\n');
  process.exit(78);
}

say(`${seconds} s, seed ${seed}`);
try {
  await killMini();
  await disturbFull();
  process.exit(0);
} catch (error) {
  say(String(error));
  // Ends the load too, which may still run and gets no answers any more.
  process.exit(1);
}

async function killMini(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'cardea-history-'));
  const cardea = await Cardea.start(folder);
  try {
    await loadAndKill(cardea);
    await cardea.stop();
    rmSync(folder, { recursive: true });
  } catch (error) {
    say(`its data and its log are in ${folder}`);
    throw error;
  }
}

async function loadAndKill(cardea: Cardea): Promise<void> {
  const [ledger, session] = [new Ledger(), { token: '' }];
  const client = new Client(new FrontDoor(cardea.url), ledger, session);
  await cardea.untilReady(START_WITHIN_MS);
  await client.signIn(cardea.password);
  await client.createVault(VAULT, VERSIONS_KEPT);

  const random = seededRandom(`${seed}/kills`);
  const killCounts = createKillCounts();
  let signedInAt = performance.now();
  const killAndSignIn = async () => {
    await killOnce({ cardea, ledger, client, random, killCounts });
    const isDue = performance.now() - signedInAt > NEW_SESSION_MS;
    if (isDue && (await client.signIn(cardea.password))) signedInAt = performance.now();
  };
  const recorder = await underLoad(cardea.url, async () => session.token, killAndSignIn);
  await client.signIn(cardea.password);
  const openDatabase = () => openSqlite(join(cardea.dataDir, 'api', 'cardea.db'));
  const answerer = { url: cardea.url, vault: VAULT, token: session.token, openDatabase };
  await requireOneOrder(`profile mini, ${totalKills(killCounts)} kills`, recorder, answerer);
}

async function disturbFull(): Promise<void> {
  await startTestServers();
  try {
    await using system = prepareTestSystem('full');
    system.keepsSchedule = true;
    await system.start();
    const admin = await system.as('admin');
    await admin.post('/vaults', { name: VAULT, maxVersions: VERSIONS_KEPT }).expect(201);
    const random = seededRandom(`${seed}/faults`);
    let { token } = admin;
    let stops = 0;
    const recorder = await underLoad(
      system.url,
      async () => token,
      async () => {
        await disturb(system, chooseFault(random));
        ({ token } = await system.as('admin'));
        stops += 1;
      },
    );
    const openDatabase = () => system.openDatabase();
    const answerer = { url: system.url, vault: VAULT, token, openDatabase };
    await requireOneOrder(`profile full, ${stops} stops`, recorder, answerer);
  } finally {
    await stopTestServers();
  }
}

/** Runs the load and repeats `trouble` for half of the time. */
async function underLoad(url: string, token: () => Promise<string>, trouble: () => Promise<void>): Promise<Recorder> {
  const recorder = new Recorder();
  const stop = new AbortController();
  const load = runLoad({ url, vault: VAULT, recorder, token }, { seed, stop: stop.signal });
  const endsAt = performance.now() + seconds * 500;
  const troubles = (async () => {
    while (performance.now() < endsAt) await trouble();
  })();
  await Promise.race([troubles, load]);
  stop.abort();
  await load;
  return recorder;
}

async function requireOneOrder(what: string, recorder: Recorder, answerer: Answerer): Promise<void> {
  const counts = Object.entries(recorder.counts()).toSorted(([a], [b]) => (a < b ? -1 : 1));
  say(`${what}: ${recorder.operations.length} calls`);
  for (const [outcome, count] of counts) say(`  ${outcome.padEnd(28)}${count}`);
  await requireLinearizable(recorder.operations, answerer);
  say('  one order of the calls explains every answer');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
