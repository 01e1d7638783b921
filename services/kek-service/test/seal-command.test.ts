import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { wrapDeks } from '@cardea/contracts/kek-api';
import { addSeal, seal, sealStatus, unseal } from '@cardea/contracts/seal-api';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { RECORDS_MAX } from '../src/keyring/format.ts';
import { generateShares } from '../src/seal-commands.ts';
import { startRecordingAuditService } from './recording-audit-service.ts';
import { startTestKek } from './test-kek.ts';

let folder: string;
let audit: Awaited<ReturnType<typeof startRecordingAuditService>>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-kek-'));
  await ensureCertificates(folder, new Date());
  audit = await startRecordingAuditService(folder);
});

afterEach(async () => {
  await audit.drain(0);
  await rm(folder, { recursive: true, force: true });
});

const start = () => startTestKek({ dataDir: folder, tlsDir: folder, auditUrl: audit.url });

test('shares that were generated offline open the keyring, and the next start records the seal', async () => {
  await (await start()).stop();
  const made = await run(['generate-shares', '5', '3']);
  expect(made.code).toBe(0);
  const shares = made.out.trim().split('\n');
  expect(shares).toHaveLength(5);
  expect((await run(['status'])).out).toMatch(
    /^generation 2\n\S+ \S+ file\n\S+ \S+ shamir 3 of 5, set [0-9a-f]{16}\n$/,
  );

  audit.events.length = 0;
  const kek = await start();
  expect(audit.events).toMatchObject([
    { action: 'seal.add', decision: 'allow', actor: { id: 'operator' }, reason: 'shamir' },
    { action: 'keyring.replace', actor: { id: 'operator' }, resource: { version: 2 } },
  ]);
  await kek.as('operator').call(seal, { body: {} });
  for (const share of shares.slice(2)) await kek.as('operator').call(unseal, { body: { share } });
  expect(await kek.as('operator').call(sealStatus, {})).toMatchObject({ sealed: false });
  await kek.stop();
});

test('a share is checked: genuine, mistyped, or of another keyring', async () => {
  await (await start()).stop();
  const [share = ''] = (await run(['generate-shares', '3', '2'])).out.split('\n');
  const [old = ''] = (await run(['generate-shares', '3', '2'])).out.split('\n');
  for (const good of [share, old, ` ${share.toUpperCase()} `]) {
    const checked = await run(['check-share'], `${good}\n`);
    expect(checked).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^The share is genuine: share 1 of set .*any 2 open/),
    });
  }
  const mistyped = share.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  expect(await run(['check-share'], `${mistyped}\n`)).toMatchObject({
    code: 78,
    err: expect.stringContaining('typing error'),
  });
  await rm(join(folder, 'kek'), { recursive: true, force: true });
  await (await start()).stop();
  expect(await run(['check-share'], `${share}\n`)).toMatchObject({
    code: 78,
    err: expect.stringContaining('is of no seal of this keyring'),
  });
});

test('a seal by a file is added by shares, for a keyring whose key is lost', async () => {
  await (await start()).stop();
  const shares = (await run(['generate-shares', '3', '2'])).out.trim().split('\n');
  await rm(join(folder, 'kek', 'seal-key'), { force: true });
  // The seal whose key is lost is still there.
  expect(await run(['add-file'], `${shares.slice(0, 2).join('\n')}\n`)).toMatchObject({
    code: 78,
    err: expect.stringContaining('has a seal by a file already'),
  });
  expect(await run(['add-file'], `${shares[0]}\n${shares[0]}\n`)).toMatchObject({
    code: 78,
    err: expect.stringMatching(/seal-key is missing, .*\nThe seal needs 2 of its shares\.\n$/),
  });
});

test('a keyring that only a passphrase opens gets a seal by a file, which opens it at the next start', async () => {
  await writeFile(join(folder, 'passphrase'), 'correct horse battery staple\n', { mode: 0o600 });
  const passphraseFile = join(folder, 'passphrase');
  const first = await startTestKek({ dataDir: folder, tlsDir: folder, seal: 'passphrase', passphraseFile });
  await first.stop();
  expect(await run(['add-file'], 'not the passphrase\n')).toMatchObject({
    code: 78,
    err: 'The keyring does not open: the passphrase is wrong.\n',
  });
  expect((await run(['add-file'], 'correct horse battery staple\n')).code).toBe(0);
  const kek = await start();
  const items = [{ vaultId: uuidv7(0), dekVersion: 1, dekBase64: Buffer.from(randomKey()).toString('base64') }];
  expect((await kek.as('worker').call(wrapDeks, { body: { items } })).items).toHaveLength(1);
  await kek.stop();
});

test('a passphrase is changed by one command: the old one opens nothing any more, and both steps are recorded', async () => {
  const [old, fresh] = ['correct horse battery staple', 'a new passphrase of the operator'];
  const passphraseFile = join(folder, 'passphrase');
  await writeFile(passphraseFile, `${old}\n`, { mode: 0o600 });
  const settings = { dataDir: folder, tlsDir: folder, auditUrl: audit.url, passphraseFile };
  await (await startTestKek({ ...settings, seal: 'passphrase' })).stop();
  const change = (...lines: string[]) => run(['change-passphrase'], `${lines.join('\n')}\n`);
  const refused: [string[], string][] = [
    [['not the passphrase', fresh], 'the passphrase is wrong'],
    [[old, 'too short'], '12 to 1024 characters'],
    [[old], 'a passphrase is missing'],
    [[old, old], 'the new passphrase is the current one'],
    // The same, as it is hashed: NFKC makes a usual letter of this one.
    [[old, old.replace('c', 'ｃ')], 'the new passphrase is the current one'],
  ];
  for (const [lines, why] of refused) {
    expect(await change(...lines)).toMatchObject({ code: 78, err: expect.stringContaining(why) });
  }
  expect((await run(['status'])).out).toMatch(/^generation 1\n/);
  expect(await change(old, fresh)).toMatchObject({ code: 0, err: '' });
  expect((await run(['status'])).out).toMatch(/^generation 3\n\S+ \S+ passphrase\n$/);

  await expect(startTestKek(settings)).rejects.toMatchObject({ message: expect.stringContaining('does not open') });
  await writeFile(passphraseFile, `${fresh}\n`, { mode: 0o600 });
  audit.events.length = 0;
  const kek = await startTestKek(settings);
  const actor = { id: 'operator' };
  expect(audit.events).toMatchObject([
    { action: 'seal.add', actor, reason: 'passphrase' },
    { action: 'keyring.replace', actor, resource: { version: 2 } },
    { action: 'seal.remove', actor, reason: 'passphrase' },
    { action: 'keyring.replace', actor, resource: { version: 3 } },
  ]);
  await kek.stop();
});

test('a changed passphrase opens no seal any more, also if several seals had it', async () => {
  const [old, fresh] = ['correct horse battery staple', 'a new passphrase of the operator'];
  const passphraseFile = join(folder, 'passphrase');
  await writeFile(passphraseFile, `${old}\n`, { mode: 0o600 });
  const settings = { dataDir: folder, tlsDir: folder, auditUrl: audit.url, passphraseFile };
  const first = await startTestKek({ ...settings, seal: 'passphrase' });
  const second = { id: uuidv7(0), seal: { type: 'passphrase', passphrase: old } } as const;
  await first.as('api-service').call(addSeal, { body: second });
  await first.stop();
  expect(await run(['change-passphrase'], `${old}\n${fresh}\n`)).toMatchObject({ code: 0, err: '' });
  expect((await run(['status'])).out).toMatch(/^generation 5\n\S+ \S+ passphrase\n$/);
  expect(await run(['add-file'], `${old}\n`)).toMatchObject({ code: 78 });

  await writeFile(passphraseFile, `${fresh}\n`, { mode: 0o600 });
  audit.events.length = 0;
  await (await startTestKek(settings)).stop();
  const removed = audit.events.filter(({ action }) => action === 'seal.remove');
  expect(new Set(removed.map(({ resource }) => resource!.name)).size).toBe(2);
});

test('a change is refused with what to do, while too many records of others wait for a start', async () => {
  await (await start()).stop();
  const offline = { config: { dataDir: folder }, typed: async () => [], tell: () => {}, now: Date.now() };
  const split = { shares: 2, threshold: 2 };
  for (let changes = 0; changes < RECORDS_MAX / 2; changes += 1) await generateShares(offline, split);
  expect(await run(['generate-shares', '2', '2'])).toMatchObject({
    code: 78,
    out: '',
    err: expect.stringMatching(/^The keyring was not changed: .* Start Cardea, which sends them, and try again\.\n$/),
  });
  expect((await run(['status'])).out).toMatch(/^generation 9\n/);
  await (await start()).stop();
  expect((await run(['generate-shares', '2', '2'])).code).toBe(0);
});

test('a keyring of an older generation is accepted by an operator only', async () => {
  await (await start()).stop();
  await writeFile(join(folder, 'kek', 'generation.json'), '{"highest":7,"recorded":7}\n');
  await expect(start()).rejects.toMatchObject({ message: expect.stringContaining('of generation 7') });
  expect(await run(['accept-keyring'])).toMatchObject({ code: 0, out: expect.stringContaining('generation 1 counts') });
  await (await start()).stop();
});

test('nothing is changed while Cardea runs, and a wrong call shows how to call it', async () => {
  await (await start()).stop();
  await writeFile(join(folder, 'cardea.pid'), `${process.pid} unknown\n`);
  expect(await run(['generate-shares', '3', '2'])).toMatchObject({
    code: 78,
    err: expect.stringContaining('stop it first'),
  });
  await rm(join(folder, 'cardea.pid'));
  for (const wrong of [
    [],
    ['generate-shares'],
    ['generate-shares', '3', '4'],
    ['generate-shares', '65', '2'],
    ['burn'],
  ]) {
    expect(await run(wrong)).toMatchObject({ code: 78, out: '', err: expect.stringContaining('usage: pnpm seal') });
  }
});

async function run(args: string[], input = ''): Promise<{ code: number; out: string; err: string }> {
  const main = new URL('../src/seal-main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { ...process.env, CARDEA_DATA_DIR: folder },
  });
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number, out, err };
}
