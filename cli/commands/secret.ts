import type { Command } from 'commander';
import { addCompare } from './secret/compare.ts';
import { addEdit } from './secret/edit.ts';
import { addMany } from './secret/many.ts';
import { addRead } from './secret/read.ts';
import { addVersions } from './secret/versions.ts';
import { addWrite } from './secret/write.ts';

/** Secrets, and the short commands of every day: get, put, ls. */
export function addSecret(program: Command): void {
  const secret = program.command('secret').description('Secrets: values with versions.');
  addRead(program, secret);
  addWrite(program, secret);
  addEdit(secret);
  addVersions(secret);
  addCompare(secret);
  addMany(secret);
}
