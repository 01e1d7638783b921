import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { useSystem } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';

// Every fenced block of the page, in its order. The test system has an alice already.
const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(`${root}docs/how-to.md`, 'utf8').replaceAll('alice', 'zoe');
const [system, { admin }] = useSystem('mini');
const run = promisify(execFile);

test('docs/how-to.md: all commands work, and the services in Node and Python print the secret', async () => {
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db/password', 'hunter2');
  const commands = blocks('sh').map((block) => (block.includes('CARDEA_CLIENT_ID') ? `${given}\n${block}` : block));
  const env = {
    PATH: process.env['PATH'],
    API: `${system.url}/api/v1`,
    JSON: 'Content-Type: application/json',
    AUTH: `Authorization: Bearer ${admin.token}`,
    PASSWORD: readFileSync(`${system.dataDir}/initial-admin-password`, 'utf8').trim(),
    DATA: system.dataDir,
  };
  const script = ['set -eo pipefail', ...commands, 'printf "\\n%s %s %s" "$CLIENT_ID" "$NEW" "$DB_PASSWORD"'];
  const { stdout } = await run('bash', ['-c', script.join('\n')], { cwd: root, env });
  expect(stdout).toContain('made certificates: api-service');
  const [id, secret, value] = stdout.split('\n').at(-1)!.split(' ');
  expect(value).toBe('hunter2');

  const service = { PATH: env.PATH, CARDEA_API: env.API, CARDEA_CLIENT_ID: id, CARDEA_CLIENT_SECRET: secret };
  const [node] = blocks('js');
  const [python] = blocks('py');
  for (const lines of [node!, python!]) expect(lines.split('\n').length).toBeLessThanOrEqual(15);
  const answers = await Promise.all([
    run(process.execPath, ['--input-type=module', '-e', node!], { env: service }),
    run('python3', ['-c', python!], { env: service }),
  ]);
  expect(answers.map((answer) => answer.stdout)).toEqual(['hunter2\n', 'hunter2\n']);
});

const given = 'CARDEA_CLIENT_ID=$CLIENT_ID; CARDEA_CLIENT_SECRET=$NEW';

function blocks(language: string): string[] {
  const found = page.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)\\n\`\`\`$`, 'gm'));
  return [...found].map(([, block]) => block!);
}
