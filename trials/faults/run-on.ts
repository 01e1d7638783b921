import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Stack } from './stack.ts';

/**
 * Runs a trial on a system that `start` makes in a new folder, and ends the process. If the trial fails, it says why and
 * where it leaves the keys and the log, and exits with 1.
 */
export async function runOn<S extends Stack>(
  name: string,
  start: (folder: string) => Promise<S>,
  runTrial: (stack: S, folder: string) => Promise<void>,
): Promise<never> {
  const folder = mkdtempSync(join(tmpdir(), `cardea-${name}-`));
  const stack = await start(folder);
  try {
    await runTrial(stack, folder);
    await stack.stop();
    rmSync(folder, { recursive: true });
    process.exit(0);
  } catch (error) {
    process.stdout.write(`\n${String(error)}\nits keys and its log are in ${folder}\n`);
    await stack.stop().catch((error: unknown) => process.stdout.write(`${String(error)}\n`));
    // Ends the load too, which may still run and gets no answers any more.
    process.exit(1);
  }
}
