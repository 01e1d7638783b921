// Rotates all DEKs and the KEK again and again while clients use the vaults and while processes are killed, and checks
// that every value is readable at all times and every change happens once:
//   pnpm test:rotation [kills] [mini|full] [vaults] [versions] [seed]
// If a promise is broken, it exits with 1, names the first one, and prints where it leaves the data and the log.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomSecret } from '@cardea/crypto/ids';
import { seededRandom } from '@cardea/testkit/random';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { FrontDoor } from '../kill/front-door.ts';
import { Ledger } from '../kill/ledger.ts';
import { createVault } from './changes.ts';
import { checkEverything } from './checks.ts';
import { bodyOf, createClient } from './client.ts';
import type { Client } from './client.ts';
import { createFiller } from './fill.ts';
import type { Filler } from './fill.ts';
import { startFull } from './full.ts';
import { startMini } from './installation.ts';
import type { Installation } from './installation.ts';
import { createKillCounts, killOnce, totalKills } from './kills.ts';
import { KnownSecret } from './known-secrets.ts';
import type { KnownVault } from './known-secrets.ts';
import { startLoad } from './load.ts';
import { renderReport } from './report.ts';
import { createTwoFactorUser } from './two-factor-user.ts';

const START_WITHIN_MS = MINUTE_MS;
// A token may be used for 5 minutes.
const NEW_SESSION_MS = 3 * MINUTE_MS;
const CLIENTS = 8;
const TOLD_EVERY = 20;

const [killsWanted = '200', profile = 'mini', vaultsWanted = '200', versionsWanted = '100000', seed = randomSecret(6)] =
  process.argv.slice(2);
const [kills, vaultCount, versions] = [killsWanted, vaultsWanted, versionsWanted].map(Number) as [
  number,
  number,
  number,
];
const isRight = [kills, vaultCount, versions].every((number) => Number.isInteger(number) && number > 0);
if (!isRight || (profile !== 'mini' && profile !== 'full')) {
  process.stderr.write('usage: pnpm test:rotation [kills] [mini|full] [vaults] [versions] [seed]\n');
  process.exit(78);
}

say(`${kills} kills, profile ${profile}, ${vaultCount} vaults with ${versions} versions, seed ${seed}`);
const folder = mkdtempSync(join(tmpdir(), 'cardea-rotation-'));
const start = profile === 'mini' ? startMini : startFull;
const installation = await start(folder);
try {
  say(await runTrial());
  await installation.stop();
  rmSync(folder, { recursive: true });
  process.exit(0);
} catch (error) {
  say(`\n${error instanceof Error ? error.stack : String(error)}\nits data and its log are in ${folder}`);
  await installation.stop().catch((error: unknown) => say(String(error)));
  // Ends the load too, which may still run and gets no answers any more.
  process.exit(1);
}

async function runTrial(): Promise<string> {
  const trial = await begin(installation);
  const { ledger, client, vaults, probe } = trial;
  const [filledAt, load] = [performance.now(), startLoad({ ...trial, createClient: trial.connect })];
  await Promise.race([killAll(trial), load.ended]);
  await load.end();
  const killedAt = performance.now();
  say(`all clients have stopped after ${ledger.counts.reads} reads`);

  await signIn(client, trial);
  // A token may expire while everything is read.
  const renewal = setInterval(() => void signIn(client, trial), NEW_SESSION_MS);
  const clients = Array.from({ length: CLIENTS }, trial.connect);
  const counts = { ...ledger.counts };
  const checked = await checkEverything({ ...trial, vaults: [...vaults, probe.vault], clients, folder, say });
  clearInterval(renewal);
  const { counts: killCounts } = trial;
  const seconds = {
    fill: filledAt / 1_000,
    kills: (killedAt - filledAt) / 1_000,
    checks: (performance.now() - killedAt) / 1_000,
  };
  const { endedByItself } = installation;
  return renderReport({ profile, kills: killCounts, checked, changes: load.counts, counts, endedByItself, seconds });
}

type Trial = Awaited<ReturnType<typeof begin>>;

async function begin(installation: Installation) {
  const ledger = new Ledger();
  const session = { token: '' };
  const connect = () => createClient(new FrontDoor(installation.url), { ledger, session });
  const client = connect();
  await installation.untilReady(START_WITHIN_MS);
  await signIn(client, { session });
  const signInTwofold = await createTwoFactorUser(client);

  const mark = `trial-${randomSecret(12)}`;
  const filler = createFiller(mark, Math.round(versions / vaultCount));
  const vaults = await fill(filler, connect);
  const probeVault = await createVault(client, 'probe');
  const probe = new KnownSecret(probeVault, 'probe');
  probeVault.secrets.push(probe);
  say('all vaults are filled');
  return {
    installation,
    ledger,
    session,
    connect,
    client,
    mark,
    filler,
    seed,
    /** The vaults that the load changes. */
    vaults,
    probe,
    random: seededRandom(`${seed}/kills`),
    held: [] as string[],
    counts: createKillCounts(),
    signInTwofold,
  };
}

/** Fills the vaults through the API, by several clients at once. */
async function fill(filler: Filler, connect: () => Client): Promise<KnownVault[]> {
  const vaults: KnownVault[] = [];
  let begun = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = connect();
      while (begun < vaultCount) {
        begun += 1;
        vaults.push(await filler.fillVault(client));
      }
      client.close();
    }),
  );
  return vaults;
}

async function killAll(trial: Trial): Promise<void> {
  const { client, held, counts } = trial;
  let signedInAt = performance.now();
  while (totalKills(counts) < kills) {
    await killOnce(trial);
    const checkpoint = await client.ask('audit.read', { method: 'GET', path: '/audit/checkpoint' });
    if (checkpoint) held.push(checkpoint.text);
    if (performance.now() - signedInAt > NEW_SESSION_MS) {
      await signIn(client, trial);
      signedInAt = performance.now();
    }
    if (totalKills(counts) % TOLD_EVERY === 0) say(`${totalKills(counts)} kills`);
  }
}

/** Begins a session for all clients. */
async function signIn(client: Client, { session }: { session: { token: string } }): Promise<void> {
  const body = { username: 'admin', password: installation.password };
  const answer = await client.insist('auth.login', { method: 'POST', path: '/auth/login', body });
  session.token = bodyOf<{ access_token: string }>(answer).access_token;
}

function say(text: string): void {
  process.stdout.write(`${(performance.now() / 1_000).toFixed(0).padStart(5)} s  ${text}\n`);
}
