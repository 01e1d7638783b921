import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, beforeEach, expect, test } from '@jest/globals';
import { useTerminal } from './terminal.ts';

const [system] = useSystem('mini');
const terminal = useTerminal();
const run = (...words: string[]) => terminal.cardea(['run', ...words]);

beforeAll(async () => {
  const alice = await system.as('alice');
  await alice.createVault('env');
  const secrets = Array.from({ length: 500 }, (_, i) => ({ name: `prod/many/v${i}`, value: `value ${i}` }));
  for (let at = 0; at < 500; at += 100) {
    await alice.post('/vaults/env/secrets:batchWrite', { secrets: secrets.slice(at, at + 100) }).expect(200);
  }
  await alice.putSecret('env', 'prod/db/password', "it's $HOME\n");
  await alice.put('/vaults/env/secrets/binary/key', { value: '/wA=', encoding: 'base64' }).expect(201);
  await alice.putSecret('env', 'clash/a-b', '1');
  await alice.putSecret('env', 'clash/a_b', '2');
  for (const name of ['evil/ld-preload', 'trust/ssl-cert-file', 'server/cardea-url']) {
    await alice.putSecret('env', name, '/tmp/evil.so');
  }
});
beforeEach(async () => {
  terminal.env['CARDEA_URL'] = system.url;
  terminal.env['CARDEA_TOKEN'] = (await system.as('alice')).token;
});

test('500 secrets are in the environment of the program as they are, each with a record', async () => {
  const { stdout, code } = await run(
    '--vault',
    'env',
    '--prefix',
    'prod',
    '--',
    process.execPath,
    '-p',
    'JSON.stringify(process.env)',
  );
  const env = JSON.parse(stdout) as Record<string, string>;
  expect(code).toBe(0);
  expect(env['DB_PASSWORD']).toBe("it's $HOME\n");
  expect(Object.keys(env).filter((name) => /^MANY_V\d+$/.test(name))).toHaveLength(500);
  expect(env['MANY_V499']).toBe('value 499');
  // What cardea signs in with is not for the program.
  expect(env['CARDEA_TOKEN']).toBeUndefined();
  expect(env['HOME']).toBe(terminal.env['HOME']);
  const records = await (await system.as('admin')).auditEntries({ vault: 'env', action: 'secret.read' });
  expect(new Set(records.map(({ event }) => event.resource?.name)).size).toBeGreaterThanOrEqual(500);
});

test('the exit code, the input and the outputs are those of the program', async () => {
  const words = ['run', '--map', 'P=env/prod/db/password', '--', 'sh', '-c', 'cat; echo oops >&2; exit 42'];
  const { code, stdout, stderr } = await terminal.cardea(words, { stdin: 'from the pipe' });
  expect([code, stdout, stderr]).toEqual([42, 'from the pipe', 'oops\n']);
  expect((await run('--map', 'P=env/prod/db/password', '--', 'no-such-program')).code).toBe(127);
  expect((await run('--map', 'P=env/prod/db/password', '--', '/etc')).code).toBe(126);
});

test('more than an environment can hold is refused as a program that cannot be run', async () => {
  const alice = await system.as('alice');
  for (const part of ['a', 'b']) {
    const secrets = Array.from({ length: 80 }, (_, i) => ({ name: `large/${part}${i}`, value: 'x'.repeat(8_000) }));
    await alice.post('/vaults/env/secrets:batchWrite', { secrets }).expect(200);
  }
  // Linux lets it have a quarter of the stack, macOS 1 MiB.
  const { code, stderr } = await terminal.shell('ulimit -s 2048; cardea run --vault env --prefix large -- env');
  expect([code, stderr]).toEqual([126, expect.stringContaining('more than an environment can hold')]);
});

test('options of the program stay its own', async () => {
  const { stdout } = await run('--map', 'P=env/prod/db/password', '--', 'echo', '--json', '--vault', '-h');
  expect(stdout).toBe('--json --vault -h\n');
});

test('signals reach the program, which may take its time, and a signal that ends it ends cardea', async () => {
  const patient = "trap 'echo got TERM' TERM; echo ready; while :; do sleep 0.1; done";
  const started = terminal.start(['run', '--map', 'P=env/prod/db/password', '--', 'sh', '-c', patient]);
  await started.says(/ready/);
  process.kill(started.pid, 'SIGTERM');
  await started.says(/got TERM/);
  // It goes on as long as the program does.
  process.kill(started.pid, 'SIGUSR1');
  const { signal } = await started.ended;
  expect(signal).toBe('SIGUSR1');
});

test('a value that no variable can hold is refused, with the ways out', async () => {
  const refused = await run('--vault', 'env', '--prefix', 'binary', '--', 'env');
  expect([refused.code, refused.stdout]).toEqual([2, '']);
  expect(refused.stderr).toContain('env/binary/key holds bytes that no variable can hold');
  const printKey = ['--', 'sh', '-c', 'echo "<$KEY>"'];
  expect((await run('--vault', 'env', '--prefix', 'binary', '--binary', 'base64', ...printKey)).stdout).toBe(
    '</wA=>\n',
  );
  expect((await run('--vault', 'env', '--prefix', 'binary', '--binary', 'skip', ...printKey)).stdout).toBe('<>\n');
});

test('two secrets of one variable, and variables that choose what code runs, are refused until they are named', async () => {
  const clash = await run('--vault', 'env', '--prefix', 'clash', '--', 'env');
  expect([clash.code, clash.stderr]).toEqual([2, expect.stringContaining('would both be A_B')]);
  for (const prefix of ['evil', 'trust', 'server']) {
    const evil = await run('--vault', 'env', '--prefix', prefix, '--', 'env');
    expect([prefix, evil.code, evil.stderr]).toEqual([
      prefix,
      2,
      expect.stringContaining('says what code programs run'),
    ]);
  }
  const mapped = await run('--map', 'LIBRARY=env/evil/ld-preload', '--', 'printenv', 'LIBRARY');
  expect(mapped.stdout).toBe('/tmp/evil.so\n');
});

test('the environment can be left out', async () => {
  const words = [
    '--no-inherit',
    '--map',
    'P=env/clash/a-b',
    '--',
    process.execPath,
    '-p',
    'Object.keys(process.env).sort().join()',
  ];
  expect((await run(...words)).stdout).toBe('HOME,P,PATH,TERM\n');
});

test('nothing runs without a right to the values, without a program, or without secrets', async () => {
  const bob = { env: { CARDEA_TOKEN: (await system.as('bob')).token } };
  expect(await terminal.cardea(['run', '--map', 'P=env/clash/a-b', '--', 'echo', 'ran'], bob)).toMatchObject({
    code: 5,
    stdout: '',
  });
  expect((await run('--vault', 'env')).code).toBe(2);
  expect((await run('--', 'echo')).code).toBe(2);
  expect(await run('--vault', 'env', '--prefix', 'none', '--', 'echo', 'ran')).toMatchObject({ code: 5, stdout: '' });
});

test('Ctrl-C at a terminal reaches the program once', async () => {
  const counting = "trap 'echo INT' INT; echo ready; n=0; while [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done";
  const started = terminal.startInTerminal(['run', '--map', 'P=env/clash/a-b', '--', 'sh', '-c', counting]);
  await started.says(/ready/);
  started.type('\u0003');
  const { stdout, code } = await started.ended;
  expect([code, stdout.match(/INT/g)]).toEqual([0, ['INT']]);
});
