// Compiles the module that speaks to PKCS#11 tokens, which only the seal `pkcs11` needs: pnpm build:pkcs11
// It needs a C++ compiler, make and Python 3. The headers of Node are those beside the running Node: nothing is fetched.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('node_modules/pkcs11js', import.meta.url));
const nodeDir = resolve(dirname(process.execPath), '..');
if (!existsSync(join(folder, 'package.json')))
  fail('pkcs11js is not installed: run pnpm install without --no-optional.');
if (!existsSync(join(nodeDir, 'include/node/node_api.h'))) fail(`There are no headers of Node in ${nodeDir}/include.`);

const env = { ...process.env, npm_config_nodedir: nodeDir, npm_config_update_notifier: 'false' };
const { status } = spawnSync('npm', ['run', 'build'], { cwd: folder, env, stdio: 'inherit' });
process.exit(status ?? 1);

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(78);
}
