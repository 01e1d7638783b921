import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { useSystem } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';

// The command `pnpm operator`, which is also the container `operator` of the compose files.
const script = fileURLToPath(new URL('../../services/kek-service/src/operator-main.ts', import.meta.url));
const words = ['--disable-warning=ExperimentalWarning', script];
const [system, { admin }] = useSystem('mini');
let shareTexts: string[];

function environment(): NodeJS.ProcessEnv {
  const { CARDEA_TLS_DIR, CARDEA_KEK_URL } = system.environment('api');
  return { ...process.env, CARDEA_TLS_DIR, CARDEA_KEK_URL };
}

async function operator(command: string[], typed = '') {
  const args = [...words, ...command];
  const child = spawn(process.execPath, args, { env: environment(), stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(typed);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number, stdout, stderr };
}

test('an operator proves the shares of a new seal by the command', async () => {
  const made = await admin.post('/seals', { type: 'shamir', shares: 3, threshold: 2 }).expect(201);
  ({ shareTexts } = made.body as { shareTexts: string[] });
  const status = await operator(['status']);
  expect(status).toMatchObject({ code: 0, stdout: expect.stringMatching(/^open\nseal \S+ file\nseal \S+ shamir\n$/) });
  expect(await operator(['unseal'], `${shareTexts[0]}\n\n${shareTexts[1]}\n`)).toEqual({
    code: 0,
    stdout: '1 of 2 shares are given.\nThe keyring was open, and this would open it.\n',
    stderr: '',
  });
  const entries = await admin.auditEntries({ action: 'seal.prove' });
  expect(entries).toMatchObject([{ peer: 'kek-service', event: { actor: { id: 'operator' }, decision: 'allow' } }]);
});

test('after `seal` nobody reads a secret until the holders have given enough shares, one by one', async () => {
  await admin.createVault('payments');
  await admin.putSecret('payments', 's', 'v');
  expect(await operator(['seal'])).toMatchObject({ code: 0, stdout: expect.stringContaining('is sealed') });
  await expectEventually(async () => void (await admin.get('/vaults/payments/secrets/s').expect(503)));

  const first = await operator(['unseal'], shareTexts[1]);
  expect(first).toMatchObject({ code: 78, stdout: '1 of 2 shares are given.\n' });
  expect(first.stderr).toMatch(/^That was not enough/);
  expect((await operator(['status'])).stdout).toMatch(/^sealed\n[^]* shamir: 1 of 2 shares are given\n$/);
  const second = await operator(['unseal'], ` ${shareTexts[2]!.toUpperCase()}`);
  expect(second).toMatchObject({ code: 0, stdout: 'The keyring is open.\n' });
  await expectEventually(async () => expect(await admin.readSecret('payments', 's')).toBe('v'));
  const [entry] = await admin.auditEntries({ action: 'seal.open' });
  expect(entry).toMatchObject({ peer: 'kek-service', event: { actor: { id: 'operator' }, decision: 'allow' } });
});

test('what is wrong is said in words, and what was typed is not repeated', async () => {
  const wrong = shareTexts[0]!.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  const answers = [
    await operator(['unseal'], wrong),
    await operator(['unseal'], 'not a passphrase'),
    await operator(['unfreeze', 'worker', 'a load test, no thief']),
    await operator(['unseal', 'now']),
    await operator([]),
  ];
  expect(answers.map(({ code, stdout, stderr }) => [code, stdout, stderr.split('\n')[0]])).toEqual([
    [78, '', expect.stringMatching(/^kek-service: .*share/)],
    [78, '', expect.stringMatching(/^kek-service: the keyring opens by no passphrase/)],
    [78, '', 'the unwraps of worker are not frozen'],
    [78, '', expect.stringMatching(/^usage: /)],
    [78, '', expect.stringMatching(/^usage: /)],
  ]);
  for (const { stderr } of answers) expect(stderr).not.toMatch(/cs1-|not a passphrase/);
});

test('a terminal shows nothing of what is typed', async () => {
  const command = [process.execPath, ...words, 'unseal'].map((word) => `'${word}'`).join(' ');
  // A terminal of its own, which shows what is typed unless the command turns that off.
  const args = ['--quiet', '--return', '--echo', 'always', '--command', command, '/dev/null'];
  const child = spawn('script', args, { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (shown += piece));
  const ended = once(child, 'close');
  await expectEventually(async () => expect(shown).toContain('(not shown): '));
  child.stdin.write('a wrong passphrase\r');
  expect(await ended).toEqual([78, null]);
  expect(shown).toMatch(/^Passphrase or share \(not shown\): \r\nkek-service: the keyring opens by no passphrase/);
});
