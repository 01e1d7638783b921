import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from '@jest/globals';

const [runModule, configModule] = ['./run.ts', './config.ts'].map((path) => new URL(path, import.meta.url).href);

/** Runs a service in a new process. `start` is the code that starts the service. */
async function runService(start: string, { stopped = false } = {}): Promise<{ code: number; output: string }> {
  const program = `import { run } from '${runModule}';
    import { StartError } from '${configModule}';
    await run(() => ({}), async () => { ${start} });
    ${stopped ? "process.emit('SIGTERM');" : ''}`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  const [output, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { code: code as number, output };
}

const closing = `const stack = new AsyncDisposableStack();
  stack.defer(() => { throw new Error('the second thing does not close'); });
  stack.defer(() => { throw new Error('the first thing does not close'); });`;

test('a start that fails prints the reason, even if its clean-up fails too', async () => {
  const { code, output } = await runService(`${closing}
    await using starting = stack;
    throw new StartError('Port 1 is in use: set CARDEA_PORT to another.');`);
  expect([code, output]).toEqual([78, 'Port 1 is in use: set CARDEA_PORT to another.\n']);
});

test('a stop that fails prints all errors in their order', async () => {
  const { code, output } = await runService(
    `${closing} return { url: '', opsUrl: '', stop: () => stack.disposeAsync() };`,
    { stopped: true },
  );
  expect(code).toBe(1);
  expect(output).toBe(
    'The service did not stop cleanly: Error: the first thing does not close; Error: the second thing does not close\n',
  );
});
