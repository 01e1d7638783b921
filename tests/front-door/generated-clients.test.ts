import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MINUTE_MS } from '@cardea/contracts/durations';
import type { Entry } from '@cardea/testkit/person';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

// Clients that two generators make from the document of a running Cardea read a secret with a slash in its name, and grant
// it to an application. In one profile: this is about the document and the paths that such clients send.
const run = promisify(execFile);
const [system, { admin }] = useSystem('mini');
let folder: string;
let document: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cardea-clients-'));
  document = join(folder, 'openapi.json');
  writeFileSync(document, JSON.stringify((await system.stranger.get('/openapi.json').expect(200)).body));
  await admin.createVault('clients');
  await admin.putSecret('clients', 'db/password', 'hunter2');
  await admin.post('/applications', { name: 'ci' }).expect(201);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What each client writes. */
interface Outcome {
  value: string;
  /** Of the answer with the value. */
  requestId: string;
  version: number;
  principal: string;
  /** Of the refusal for a secret that is not there. */
  code: string;
  /** The paths as they were sent. */
  sent: string[];
}

const encoded = (secret: string) => `/api/v1/vaults/clients/secrets/db%2F${secret}`;

async function expectOutcome(outcome: Outcome, name: string): Promise<void> {
  expect(outcome).toEqual({
    value: 'hunter2',
    requestId: expect.any(String),
    version: 1,
    principal: 'application:ci',
    code: 'not_found',
    sent: [encoded(name), encoded('password'), '/api/v1/vaults/clients/grants/application%3Aci', encoded('none')],
  });
  const { body } = await admin.get('/audit/entries?action=secret.read&limit=10').expect(200);
  const record = (body.items as Entry[]).find(({ event }) => event.requestId === outcome.requestId);
  expect(record?.event).toMatchObject({ decision: 'allow', resource: { vault: 'clients', name: 'db/password' } });
  expect(await admin.readSecret('clients', `db/${name}`)).toBe(`from ${name === 'python' ? 'Python' : 'TypeScript'}`);
}

const client = `
import createClient from 'openapi-fetch';
import type { components, paths } from './cardea.d.ts';

const [baseUrl, token] = process.argv.slice(2);
const sent: string[] = [];
const watched = (request: Request) => {
  sent.push(new URL(request.url).pathname);
  return fetch(request);
};
const client = createClient<paths, 'application/json' | 'application/problem+json'>({ baseUrl, headers: { Authorization: \`Bearer \${token}\` }, fetch: watched });
const SECRET = '/api/v1/vaults/{vault}/secrets/{name}';

// @ts-expect-error -- a secret has a value
const incomplete: components['schemas']['SecretInput'] = {};
const input: components['schemas']['SecretInput'] = { ...incomplete, value: 'from TypeScript' };
const at = (name: string) => ({ path: { vault: 'clients', name } });
const written = await client.PUT(SECRET, { params: at('db/typescript'), body: input });
const read = await client.GET(SECRET, { params: at('db/password') });
const secret: components['schemas']['Secret'] | undefined = read.data;
const path = { vault: 'clients', principal: 'application:ci' };
const granted = await client.PUT('/api/v1/vaults/{vault}/grants/{principal}', {
  params: { path },
  body: { secrets: ['read'], pathPrefix: 'db' },
});
const refused = await client.GET(SECRET, { params: at('db/none') });
console.log(
  JSON.stringify({
    value: secret?.value,
    requestId: read.response.headers.get('X-Request-Id'),
    version: written.data?.version,
    principal: granted.data?.principal,
    code: refused.error?.code,
    sent,
  }),
);
`;

test(
  'a TypeScript client of openapi-typescript and openapi-fetch compiles, reads and grants',
  async () => {
    const installed = fileURLToPath(new URL('../node_modules', import.meta.url));
    symlinkSync(installed, join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'client.ts'), client);
    const options = {
      module: 'nodenext',
      target: 'es2024',
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
    };
    const lib = ['es2024', 'dom', 'dom.iterable'];
    const compilerOptions = { ...options, lib, skipLibCheck: true, types: [] };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['client.ts', 'process.d.ts'] }),
    );
    writeFileSync(join(folder, 'process.d.ts'), 'declare const process: { argv: string[] };\n');

    const node = (script: string, ...words: string[]) => run(process.execPath, [join(installed, script), ...words]);
    const types = join(folder, 'cardea.d.ts');
    await node('openapi-typescript/bin/cli.js', document, '--default-non-nullable', 'false', '--output', types);
    await node('typescript/bin/tsc', '--project', folder);
    const { stdout } = await run(process.execPath, [join(folder, 'client.ts'), system.url, admin.token]);
    await expectOutcome(JSON.parse(stdout) as Outcome, 'typescript');
  },
  3 * MINUTE_MS,
);

test(
  'a Python client of openapi-python-client reads and grants, and only the tar is missing from it',
  async () => {
    const python = join(folder, 'venv/bin');
    await run('python3', ['-m', 'venv', join(folder, 'venv')]);
    await run(join(python, 'pip'), ['install', '--quiet', 'openapi-python-client==0.29.1']);
    const words = ['generate', '--path', document, '--output-path', join(folder, 'cardea_client'), '--meta', 'none'];
    const { stderr: said } = await run(join(python, 'openapi-python-client'), words);
    expect(said.match(/^(?:WARNING|ERROR) .*$|^Unable .*$/gm)).toEqual([
      'WARNING parsing GET /api/v1/audit/export within audit.',
    ]);
    cpSync(fileURLToPath(new URL('read_secret.py', import.meta.url)), join(folder, 'read_secret.py'));
    const { stdout } = await run(join(python, 'python'), [join(folder, 'read_secret.py'), system.url, admin.token]);
    await expectOutcome(JSON.parse(stdout) as Outcome, 'python');
  },
  5 * MINUTE_MS,
);
