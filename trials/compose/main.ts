// Installs each profile with the command `stack`, on the Docker of this machine, and looks at everything that the command
// promises: the main job through nginx with TLS, shares that unseal, a crash of each container, a second run, an upgrade, an
// upgrade that fails, an uninstall that keeps the data, one that does not:
//   pnpm test:compose            # or pnpm test:compose mini
// It takes about ten minutes, most of them for images. If something is wrong, it exits with 1 and says what.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { docker } from '@cardea/deploy/stack/docker';
import { readEnv } from '@cardea/deploy/stack/env-file';
import { checkDocker } from '@cardea/deploy/stack/requirements';
import type { Profile } from '@cardea/deploy/stack/stack-files';
import { makeBrokenVersion } from './broken-version.ts';
import type { Answer } from './front-door.ts';
import { planStack, runNode } from './stack.ts';
import type { Stack } from './stack.ts';

const SECRET = '/vaults/payments/secrets/db/password';
const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));

const profiles = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'cardea-compose-'));
try {
  await checkDocker();
  for (const profile of profiles.length > 0 ? profiles : ['mini', 'full']) await runTrial(profile as Profile);
  say('\nall of it is as promised');
} catch (error) {
  say(`\n${error instanceof Error ? error.stack : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function runTrial(profile: Profile): Promise<void> {
  const stack = await planStack(profile, join(scratch, profile));
  try {
    if (profile === 'mini') putOwnFiles(stack);
    const began = performance.now();
    await stack.install();
    say(`profile ${profile}: installed in ${seconds(began)}, the image has ${await imageMib(stack)} MiB`);
    await checkMainJob(stack);
    if (profile === 'mini') await checkOwnFiles(stack);
    await checkSeparation(stack);
    await checkOperator(stack);
    if (profile === 'full') await checkMonitoring(stack);
    await checkCrashes(stack);
    await checkSecondRun(stack);
    await checkUpgrades(stack);
    await checkUninstall(stack);
  } catch (error) {
    say(await stack.compose.run('logs', '--no-color', '--tail', '15').catch(String));
    throw error;
  } finally {
    if ((await stack.remains()).length > 0) await stack.run(['--uninstall', '--delete-data']);
  }
}

async function checkMainJob({ door, compose, api }: Stack): Promise<void> {
  const token = await signIn({ door, compose, api });
  expectStatus(await door.send('POST', '/vaults', { token, body: { name: 'payments' } }), 201);
  expectStatus(await door.send('PUT', SECRET, { token, body: { value: 'hunter2' } }), 201);
  await expectValue({ door, compose, api });

  const tar = join(scratch, 'audit.tar');
  writeFileSync(tar, expectStatus(await door.send('GET', '/audit/export', { token }), 200).body);
  const key = (await compose.run('exec', '-T', 'audit', 'cat', '/data/audit/verifier-key')).trim();
  const verdict = await runNode(verifier, '--key', key, tar);
  assert.match(verdict, /^OK: \d+ entries/m);
  say(`the main job works through nginx with TLS, and the export verifies (${verdict.trim().split('\n').at(-1)})`);
}

/** The files that an operator may put into the folder before the first run. */
function putOwnFiles({ folder }: Stack): void {
  mkdirSync(folder, { mode: 0o700 });
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const endpoint = { name: 'pager', url: 'https://pager.example/', events: ['kek.rotated'], secret };
  for (const [name, text] of Object.entries({
    'webhooks.yml': JSON.stringify({ endpoints: [endpoint] }),
    'seal-passphrase': randomBytes(32).toString('base64url'),
  })) {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  }
}

/** They are used. That the passphrase opens kek-service again shows when kek-service is killed. */
async function checkOwnFiles(stack: Stack): Promise<void> {
  const token = await signIn(stack);
  const seals = expectStatus(await stack.door.send('GET', '/seals', { token }), 200).body.toString();
  assert.match(seals, /"type":"passphrase"/);
  assert.doesNotMatch(seals, /"type":"file"/);
  expectStatus(await stack.door.send('POST', '/rotations', { token, body: { kind: 'kek' } }), 202);
  await stack.until('a delivery for the receiver', async () => {
    const deliveries = expectStatus(await stack.door.send('GET', '/webhooks/deliveries', { token }), 200);
    return deliveries.body.toString().includes('"pager"');
  });
  say('the passphrase and the receivers of the folder are used');
}

/** Who is not beside whom in the drawing cannot reach them, and a container can write only where it must. */
async function checkSeparation({ compose, api }: Stack): Promise<void> {
  const isRefused = (service: string, ...words: string[]) =>
    compose.run('exec', '-T', service, ...words).then(
      () => false,
      () => true,
    );
  assert.ok(await isRefused('nginx', 'curl', '-sk', '--max-time', '5', 'https://kek:8401/'), 'nginx reaches kek');
  assert.ok(await isRefused('kek', 'node', '-e', connect('1.1.1.1', 443)), 'kek reaches the outside');
  assert.ok(!(await isRefused(api, 'node', '-e', connect('kek', 8401))), 'api-service does not reach kek');
  for (const service of ['kek', 'audit', api]) {
    assert.ok(await isRefused(service, 'sh', '-c', 'echo x > /cardea/x'), `${service} writes to its image`);
    assert.ok(await isRefused(service, 'cat', '/stack/tls/ca.key'), `${service} reads the key of the CA`);
  }
  say('containers reach only their neighbours, and write only to their data');
}

/** The holders of shares open a sealed kek-service by the container of the operator, which reaches nobody else. */
async function checkOperator(stack: Stack): Promise<void> {
  const token = await signIn(stack);
  const body = { type: 'shamir', shares: 3, threshold: 2 };
  const made = expectStatus(await stack.door.send('POST', '/seals', { token, body }), 201).body.toString();
  const { shareTexts } = JSON.parse(made) as { shareTexts: [string, string, string] };
  assert.match(await stack.operate(['unseal'], `${shareTexts[0]}\n${shareTexts[1]}\n`), /this would open it/);
  assert.match(await stack.operate(['seal']), /is sealed/);
  await stack.until('no read while it is sealed', async () => {
    return (await stack.door.send('GET', SECRET, { token })).status === 503;
  });
  assert.match(await stack.operate(['status']), /^sealed$/m);
  await assert.rejects(stack.operate(['unseal'], `${shareTexts[2]}\n`), /That was not enough/);
  assert.match(await stack.operate(['unseal'], `${shareTexts[1]}\n`), /^The keyring is open\.$/m);
  await stack.until('a read after it was unsealed', () => readsAgain(stack));

  const reaches = (host: string, port: number) =>
    stack.operate(['-e', connect(host, port)], '', ['--entrypoint', 'node']).then(
      () => true,
      () => false,
    );
  assert.ok(await reaches('kek', 8401), 'the operator does not reach kek');
  for (const [host, port] of [
    ['audit', 8402],
    [stack.api, 8400],
    ['1.1.1.1', 443],
  ] as const) {
    assert.ok(!(await reaches(host, port)), `the operator reaches ${host}`);
  }
  say('shares open a sealed kek-service by the container of the operator');
}

/** A program that ends with 0 if this address answers in 3 s. */
function connect(host: string, port: number): string {
  return (
    `require('node:net').connect(${port}, '${host}').on('error', () => process.exit(1))` +
    `.on('connect', () => process.exit(0)); setTimeout(() => process.exit(1), 3_000)`
  );
}

async function checkMonitoring(stack: Stack): Promise<void> {
  const query = async (expr: string) =>
    stack.compose.run('exec', '-T', 'prometheus', 'promtool', 'query', 'instant', 'http://127.0.0.1:9090', expr);
  await stack.until('Prometheus reaches all targets', async () => (await query('up == 0')).trim() === '');
  for (const it of ['pg_up', 'redis_up', 'nginx_up']) {
    await stack.until(`${it} is 1`, async () => (await query(`${it} == 1`)).includes(it));
  }
  const up = (await query('up == 1')).trim().split('\n').length;
  assert.equal(up, 12);
  say(`Prometheus reaches all ${up} targets`);
}

async function checkCrashes(stack: Stack): Promise<void> {
  const services = ['kek', 'audit', stack.api, 'nginx', ...(stack.profile === 'full' ? ['postgres', 'redis'] : [])];
  for (const service of services) {
    const began = performance.now();
    await stack.crash(service);
    await stack.until(`a read after the crash of ${service}`, () => readsAgain(stack));
    say(`${service} was killed: reads are answered again after ${seconds(began)}`);
  }
  if (stack.profile === 'full') {
    assert.doesNotMatch(await stack.compose.run('logs', '--no-color', 'redis'), /CRITICAL|NOPERM/);
    await checkFailover(stack);
  }
}

async function readsAgain(stack: Stack): Promise<boolean> {
  try {
    await expectValue(stack);
    return true;
  } catch {
    // Not yet: nobody listens, or the answer is 503.
    return false;
  }
}

/** While one api-service is away, no read fails. */
async function checkFailover(stack: Stack): Promise<void> {
  const token = await signIn(stack);
  await stack.compose.run('stop', 'api-1');
  for (let count = 0; count < 50; count++) expectStatus(await stack.door.send('GET', SECRET, { token }), 200);
  await stack.compose.run('start', 'api-1');
  say('50 reads while api-1 was stopped: all were answered');
}

async function checkSecondRun(stack: Stack): Promise<void> {
  const before = { ids: await stack.ids(), env: await readEnv(stack.folder) };
  await stack.install();
  assert.deepEqual({ ids: await stack.ids(), env: await readEnv(stack.folder) }, before);
  say('a second run changed nothing');
}

async function checkUpgrades(stack: Stack): Promise<void> {
  const first = await imageOf(stack);
  assert.equal(await stack.run(['--upgrade']), 0);
  const second = await imageOf(stack);
  assert.notEqual(second, first);
  await expectValue(stack);
  say('an upgrade keeps the data');

  const broken = join(scratch, `broken-${stack.profile}`);
  makeBrokenVersion(broken);
  assert.equal(await stack.run(['--upgrade', '--patience', '40'], broken), 78);
  assert.equal(await imageOf(stack), second);
  await expectValue(stack);
  say('an upgrade that fails goes back to the version and the data before');
}

async function checkUninstall(stack: Stack): Promise<void> {
  assert.equal(await stack.run(['--uninstall']), 0);
  await stack.install();
  await expectValue(stack);
  assert.equal(await stack.run(['--uninstall', '--delete-data']), 0);
  assert.deepEqual(await stack.remains(), []);
  say('an uninstall keeps the data, and with --delete-data nothing remains');
}

async function expectValue(stack: Pick<Stack, 'door' | 'compose' | 'api'>): Promise<void> {
  const { body } = expectStatus(await stack.door.send('GET', SECRET, { token: await signIn(stack) }), 200);
  assert.equal((JSON.parse(body.toString()) as { value: string }).value, 'hunter2');
}

async function signIn({ door, compose, api }: Pick<Stack, 'door' | 'compose' | 'api'>): Promise<string> {
  const password = (await compose.run('exec', '-T', api, 'cat', '/data/initial-admin-password')).trim();
  const answer = await door.send('POST', '/auth/login', { body: { username: 'admin', password } });
  return (JSON.parse(expectStatus(answer, 200).body.toString()) as { access_token: string }).access_token;
}

function expectStatus(answer: Answer, status: number): Answer {
  assert.equal(answer.status, status, answer.body.toString());
  return answer;
}

async function imageOf(stack: Stack): Promise<string> {
  return (await readEnv(stack.folder))!['CARDEA_IMAGE']!;
}

async function imageMib(stack: Stack): Promise<number> {
  const bytes = await docker('image', 'inspect', '--format', '{{.Size}}', await imageOf(stack));
  return Math.round(Number(bytes) / 1024 / 1024);
}

function seconds(began: number): string {
  return `${((performance.now() - began) / 1000).toFixed(1)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
