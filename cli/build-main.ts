import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { bundle } from './build.ts';

const [outfile = 'dist/cardea.js'] = process.argv.slice(2);
mkdirSync(dirname(outfile), { recursive: true });
await bundle(outfile);
