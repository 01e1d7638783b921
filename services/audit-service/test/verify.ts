import { spawnSync } from 'node:child_process';

const verifier = new URL('../src/verifier.mjs', import.meta.url).pathname;

/** Runs the verifier as an auditor would. */
export function verify(...args: string[]): { code: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [verifier, ...args], { encoding: 'utf8' });
  return { code: status, said: stdout + stderr };
}
