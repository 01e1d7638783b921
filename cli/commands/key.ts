import type { Command } from 'commander';
import { addKeyLife } from './key/life.ts';
import { addKeyUse } from './key/use.ts';

/** Keys that never leave Cardea, and what they do with files and pipes. */
export function addKey(program: Command): void {
  const key = program.command('key').description('Keys: they encrypt, sign and verify inside Cardea.');
  addKeyLife(key);
  addKeyUse(key);
}
