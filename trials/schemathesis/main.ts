// Runs the newest schemathesis against a real Cardea of profile mini: it sends thousands of requests that openapi.json
// allows and thousands that it forbids, and compares the answers with the document.
//   pnpm test:schemathesis [seed]
// Once as an admin, and once as an application with grants. It needs python3 with venv, and installs schemathesis from PyPI
// into a temporary folder. It exits with 1 if schemathesis finds something that schemathesis.toml does not explain.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { Person } from '@cardea/testkit/person';
import { Cardea } from '../kill/cardea.ts';

const run = promisify(execFile);
const own = fileURLToPath(new URL('.', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'cardea-schemathesis-'));
const seed = process.argv[2] ?? String(Math.floor(Math.random() * 2 ** 31));

say(`seed ${seed}`);
try {
  await run('python3', ['-m', 'venv', join(folder, 'venv')]);
  await run(join(folder, 'venv/bin/pip'), ['install', '--quiet', 'schemathesis']);
  const findings = [];
  // Each has a Cardea of its own: one leaves throttled sign-ins and deleted vaults behind.
  for (const who of ['admin', 'application'] as const) {
    const cardea = await Cardea.start(mkdtempSync(join(folder, `${who}-`)));
    await cardea.untilReady(MINUTE_MS);
    findings.push(await findFaults(cardea, who, (await prepare(cardea))[who]));
    await cardea.stop();
  }
  if (findings.includes(true)) throw new Error('schemathesis finds what schemathesis.toml does not explain');
  rmSync(folder, { recursive: true });
  process.exit(0);
} catch (error) {
  say(`${String(error)}\nthe data and the log of Cardea are in ${folder}`);
  process.exit(1);
}

/** The call that gives a token. */
interface SignIn {
  path: string;
  payload: Record<string, string>;
}

/** Makes what the examples of the document name, and an application that may use it. Returns how each caller signs in. */
async function prepare(cardea: Cardea): Promise<Record<'admin' | 'application', SignIn>> {
  const admin = await Person.signIn(cardea.url, 'admin', cardea.password);
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db/password', 'value');
  await admin.post('/applications', { name: 'ci' }).expect(201);
  const secrets = ['list', 'read', 'write', 'delete'];
  await admin.put('/vaults/payments/grants/application:ci', { secrets, keys: [] }).expect(201);
  const { body } = await admin.post('/applications', { name: 'trial' }).expect(201);
  await admin.put('/vaults/payments/grants/application:trial', { secrets, keys: [] }).expect(201);
  return {
    admin: { path: '/api/v1/auth/login', payload: { username: 'admin', password: cardea.password } },
    application: {
      path: '/api/v1/auth/token',
      payload: { grant_type: 'client_credentials', client_id: body.clientId, client_secret: body.clientSecret },
    },
  };
}

/** Resolves to true if schemathesis finds something. */
async function findFaults(cardea: Cardea, who: string, { path, payload }: SignIn): Promise<boolean> {
  say(`as ${who}:`);
  const home = join(folder, who);
  cpSync(own, home, { recursive: true });
  const pairs = Object.entries(payload).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  const auth = [
    '[auth.dynamic.openapi.bearer]',
    `path = "${path}"`,
    'method = "post"',
    `payload = { ${pairs.join(', ')} }`,
    'extract_from = "body"',
    'extract_selector = "/access_token"',
  ];
  const config = join(home, 'schemathesis.toml');
  writeFileSync(config, `${readFileSync(config, 'utf8')}\n${auth.join('\n')}\n`);
  const words = ['--config-file', config, 'run', `${cardea.url}/api/v1/openapi.json`, '--seed', seed];
  const child = spawn(join(folder, 'venv/bin/schemathesis'), words, {
    cwd: home,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code !== 0;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
