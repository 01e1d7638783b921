// Kills a real Cardea of profile mini under load, again and again, and looks for anything that was lost:
//   pnpm test:kill [kills] [seed]
// Ends with 1 and names the first promise that was broken, and then leaves its data and its log where it says.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSIONS_MAX } from '@cardea/contracts/vaults';
import { randomSecret } from '@cardea/crypto/ids';
import { Cardea } from './cardea.ts';
import { checkEverything } from './checks.ts';
import type { Checked } from './checks.ts';
import { Client } from './client.ts';
import { createToll, killOnce, totalKills } from './kills.ts';
import { Ledger } from './ledger.ts';
import { Load, loadVaults } from './load.ts';
import { seededRandom } from '@cardea/testkit/random';
import { renderReport } from './report.ts';

const START_WITHIN_MS = 60_000;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 4 * 60_000;
const CLIENTS = 8;

const [killsWanted = '120', seed = randomSecret(6)] = process.argv.slice(2);
const kills = Number(killsWanted);
if (!Number.isInteger(kills) || kills < 1) {
  process.stderr.write('usage: pnpm test:kill [kills] [seed]\n');
  process.exit(78);
}

say(`${kills} kills, seed ${seed}`);
const folder = mkdtempSync(join(tmpdir(), 'cardea-kill-'));
const cardea = await Cardea.start(folder);
try {
  say(await runTrial());
  await cardea.stop();
  rmSync(folder, { recursive: true });
  process.exit(0);
} catch (error) {
  say(`\n${String(error)}\nits data and its log are in ${folder}`);
  await cardea.stop().catch((error: unknown) => say(String(error)));
  // The load, if it still runs, has nobody to ask any more.
  process.exit(1);
}

async function runTrial(): Promise<string> {
  const trial = await begin();
  const { load, ledger, toll } = trial;
  await Promise.race([killUntil(trial, Math.ceil(kills / 2)), load.ended]);
  const midway = await check(trial);
  say(`midway all of ${midway.entries} entries and ${midway.versions} versions is as it must be`);

  await Promise.race([killUntil(trial, kills), load.ended]);
  const checked = await check(trial);
  await load.end();
  const readBack = midway.versions + checked.versions;
  const seconds = performance.now() / 1000;
  return renderReport({ toll, checked, readBack, counts: ledger.counts, endedAlone: cardea.endedAlone, seconds });
}

type Trial = Awaited<ReturnType<typeof begin>>;

async function begin() {
  const ledger = new Ledger();
  const session = { token: '' };
  const clients = Array.from({ length: CLIENTS }, () => new Client(cardea.url, ledger, session));
  const client = clients[0]!;
  await cardea.untilReady(START_WITHIN_MS);
  await client.signIn(cardea.password);
  for (const vault of loadVaults) await client.createVault(vault, VERSIONS_MAX);

  const random = seededRandom(`${seed}/kills`);
  const load = new Load(cardea.url, { ledger, session, seed });
  const held: string[] = [];
  return { cardea, folder, ledger, clients, client, random, load, held, toll: createToll(), signedInAt: 0 };
}

async function killUntil(trial: Trial, total: number): Promise<void> {
  const { client, held, toll } = trial;
  while (totalKills(toll) < total) {
    await killOnce(trial);
    const checkpoint = await client.readCheckpoint();
    if (checkpoint !== undefined) held.push(checkpoint);
    const isDue = performance.now() - trial.signedInAt > NEW_SESSION_MS;
    if (isDue && (await client.signIn(cardea.password))) trial.signedInAt = performance.now();
  }
}

async function check(trial: Trial): Promise<Checked> {
  await trial.load.pause();
  const checked = await checkEverything(trial);
  trial.load.resume();
  return checked;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
