// Imports run in this order, so a Node that is too old ends here.
import './check-node.mjs';
// Without the prefix "node:": the oldest Node that must reach the check cannot resolve it.
import module from 'module';
import { fileURLToPath } from 'url';

// The cache keeps the stripped and compiled code. From the second start on neither this process nor its children load
// the type stripper, which costs each of them time and memory. If the folder cannot be written, there is no cache.
const compileCache = fileURLToPath(new URL('../node_modules/.cache/cardea-compile', import.meta.url));
module.enableCompileCache(compileCache);
process.env.NODE_COMPILE_CACHE = compileCache;

import('./supervisor.ts')
  .then((supervisor) => supervisor.startMini())
  .catch((error) => {
    process.stderr.write(error.stack + '\n');
    process.exit(1);
  });
