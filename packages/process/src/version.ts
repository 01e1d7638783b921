import { readFileSync } from 'node:fs';

/** The version of Cardea, such as `0.1.0`: that of the package.json at the top. */
export const version = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
