// Kills processes of a real Cardea of profile mini under load, many times, and checks that nothing is lost:
//   pnpm test:kill [kills] [seed]
// If a promise is broken, it exits with 1, names the first one, and prints where it leaves the data and the log.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSIONS_MAX } from '@cardea/contracts/vaults';
import { randomSecret } from '@cardea/crypto/ids';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { openSqlite } from '@cardea/storage/sqlite';
import { Cardea } from './cardea.ts';
import { checkEverything } from './checks.ts';
import type { Checked } from './checks.ts';
import { Client } from './client.ts';
import { FrontDoor } from './front-door.ts';
import { createKillCounts, killOnce, totalKills } from './kills.ts';
import { Ledger } from './ledger.ts';
import { Load, loadVaults } from './load.ts';
import { seededRandom } from '@cardea/testkit/random';
import { renderReport } from './report.ts';

const START_WITHIN_MS = MINUTE_MS;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 4 * MINUTE_MS;
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
  // Ends the load too, which may still run and gets no answers any more.
  process.exit(1);
}

async function runTrial(): Promise<string> {
  const trial = await begin();
  const { load, ledger, killCounts } = trial;
  await Promise.race([killUntil(trial, Math.ceil(kills / 2)), load.ended]);
  const midway = await check(trial);
  say(`midway: all ${midway.entries} entries and ${midway.versions} versions are correct`);

  await Promise.race([killUntil(trial, kills), load.ended]);
  const checked = await check(trial);
  await load.end();
  const readBack = midway.versions + checked.versions;
  const seconds = performance.now() / 1000;
  return renderReport({
    killCounts,
    checked,
    readBack,
    counts: ledger.counts,
    endedByItself: cardea.endedByItself,
    seconds,
  });
}

type Trial = Awaited<ReturnType<typeof begin>>;

async function begin() {
  const ledger = new Ledger();
  const session = { token: '' };
  const connect = () => new FrontDoor(cardea.url);
  const clients = Array.from({ length: CLIENTS }, () => new Client(connect(), ledger, session));
  const client = clients[0]!;
  await cardea.untilReady(START_WITHIN_MS);
  await client.signIn(cardea.password);
  for (const vault of loadVaults) await client.createVault(vault, VERSIONS_MAX);

  const random = seededRandom(`${seed}/kills`);
  const load = new Load(connect, { ledger, session, seed });
  const held: string[] = [];
  return { cardea, folder, ledger, clients, client, random, load, held, killCounts: createKillCounts(), signedInAt: 0 };
}

async function killUntil(trial: Trial, total: number): Promise<void> {
  const { client, held, killCounts } = trial;
  while (totalKills(killCounts) < total) {
    await killOnce(trial);
    const checkpoint = await client.readCheckpoint();
    if (checkpoint !== undefined) held.push(checkpoint);
    const isDue = performance.now() - trial.signedInAt > NEW_SESSION_MS;
    if (isDue && (await client.signIn(cardea.password))) trial.signedInAt = performance.now();
  }
}

async function check(trial: Trial): Promise<Checked> {
  await trial.load.pause();
  const db = openSqlite(join(cardea.dataDir, 'api', 'cardea.db'));
  const checked = await checkEverything({ ...trial, db, dataDir: cardea.dataDir });
  await db.close();
  trial.load.resume();
  return checked;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
