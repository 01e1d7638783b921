// Imports run in this order, so a Node that is too old ends here.
import './check-node.mjs';
// Without the prefix "node:": the oldest Node that must reach the check cannot resolve it.
import module from 'module';
import { fileURLToPath } from 'url';

// The cache keeps the stripped and compiled code. From the second start on neither this process nor its children load
// the type stripper, which costs each of them time and memory. If the folder cannot be written, there is no cache.
const folder = fileURLToPath(new URL('..', import.meta.url));
const compileCache = folder + 'node_modules/.cache/cardea-compile';
module.enableCompileCache(compileCache);
process.env.NODE_COMPILE_CACHE = compileCache;

import('./supervisor.ts')
  .then((supervisor) => supervisor.startMini())
  .catch((error) => {
    const isMissing = error.code === 'ERR_MODULE_NOT_FOUND';
    const whatToDo =
      'Cardea is not installed in this folder, or not whole: run `npx -y pnpm@12 install --frozen-lockfile` in ';
    process.stderr.write(
      (isMissing ? whatToDo + folder + ' (' + error.message.split('\n')[0] + ')' : error.stack) + '\n',
    );
    // As for wrong settings: another start would not help.
    process.exit(isMissing ? 78 : 1);
  });
