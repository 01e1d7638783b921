// Imports run in this order, so nothing below is reached on a Node that is too old.
import './check-node.mjs';
// Without the prefix "node:", which the oldest Node that should reach the check cannot resolve.
import module from 'module';
import { fileURLToPath } from 'url';

// The cache keeps the stripped and compiled code. From the second start on neither this process nor its children load
// the type stripper, which costs each of them time and memory. Where the folder cannot be written nothing is kept.
const compileCache = fileURLToPath(new URL('../node_modules/.cache/cardea-compile', import.meta.url));
module.enableCompileCache(compileCache);
process.env.NODE_COMPILE_CACHE = compileCache;

import('./supervisor.ts')
  .then((supervisor) => supervisor.startMini())
  .catch((error) => {
    process.stderr.write(error.stack + '\n');
    process.exit(1);
  });
