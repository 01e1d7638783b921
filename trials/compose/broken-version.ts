import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from '../kill/cardea.ts';

const START = 'services/api-service/src/start.ts';
const AFTER = 'const { vault, logger, queue } = ctx;';

/**
 * Copies this checkout to `folder`, as a version whose api-service migrates the database and then fails. The version
 * before cannot read such a database.
 */
export function makeBrokenVersion(folder: string): void {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  const files = listed
    .trim()
    .split('\n')
    .filter((file) => existsSync(join(root, file)));
  for (const file of files) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  // Only the command itself needs packages here. The image installs its own.
  const packages = ['.', ...files.filter((file) => file.endsWith('/package.json')).map(dirname)];
  for (const path of packages) {
    const modules = join(root, path, 'node_modules');
    if (existsSync(modules)) symlinkSync(modules, join(folder, path, 'node_modules'));
  }
  const start = readFileSync(join(folder, START), 'utf8');
  if (!start.includes(AFTER)) throw new Error(`the trial must break ${START} at another line`);
  writeFileSync(join(folder, START), start.replace(AFTER, `${AFTER}\n  throw new Error('broken on purpose');`));
  writeFileSync(
    join(folder, 'packages/vault/migrations/9999-of-a-trial.sql'),
    'create table of_a_trial (id text primary key);\n',
  );
}
