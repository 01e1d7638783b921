import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createLogOutput, fileWriter, writerTo } from './log-output.ts';

const lossOf = (count: number, code: string) => `lost ${count} (${code})`;
let folder: string;
let child: ChildProcess | undefined;
/** A named pipe that takes 64 KiB and then refuses every write, as a full disk does. */
let fifo: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cardea-log-'));
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  fifo = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
});
afterEach(() => {
  child?.kill('SIGKILL');
  closeSync(fifo);
  rmSync(folder, { recursive: true });
});

function readAll(): string {
  const bytes = Buffer.alloc(256 * 1024);
  return bytes.toString('utf8', 0, readSync(fifo, bytes));
}

test('a log on a full disk drops lines, goes on when there is room, and says how many it lost', () => {
  const out = createLogOutput(fileWriter(fifo), lossOf);
  for (let i = 0; i < 100; i += 1) out.write(`${i} ${'x'.repeat(992)}\n`);
  expect(out.writableLength).toBe(0);
  const whole = readAll().split('\n');
  const cutOff = whole.pop();

  out.write('there is room\n');
  out.write('and again\n');
  const after = readAll();
  // The line that was cut off is lost too, and the next one does not continue it.
  const begin = cutOff === '' ? '' : '\n';
  expect(after).toBe(`${begin}lost ${100 - whole.length} (EAGAIN)\nthere is room\nand again\n`);
});

test('a chunk of several lines counts as so many lines', () => {
  const out = createLogOutput(fileWriter(fifo), lossOf);
  out.write(`${'x'.repeat(65_535)}\n`);
  out.write('a\nb\nc\n');
  readAll();
  out.write('d\n');
  expect(readAll()).toBe('lost 3 (EAGAIN)\nd\n');
});

test('a log whose reader is slow keeps a bounded part of it, and the reader learns of the rest', async () => {
  const module = new URL('log-output.ts', import.meta.url).href;
  const script = `
    const { createLogOutput, writerTo } = await import(${JSON.stringify(module)});
    const out = createLogOutput(writerTo(process.stdout), (count, code) => 'lost ' + count + ' ' + code);
    for (let i = 0; i < 10_000; i += 1) out.write('x'.repeat(999) + '\\n');
    process.stdout.once('drain', () => { out.write('last\\n'); process.disconnect(); });
    process.send(process.stdout.writableLength);`;
  child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const [waiting] = (await once(child, 'message')) as [number];
  expect(waiting).toBeLessThanOrEqual(1_048_576);
  const lines = (await text(child.stdout!)).trimEnd().split('\n');
  const [, lost] = /^lost (\d+) EAGAIN$/.exec(lines.at(-2)!) ?? [];
  expect(lines.at(-1)).toBe('last');
  expect(lines.length - 2 + Number(lost)).toBe(10_000);
});

test('a log whose reader is gone loses its lines and does not fail', async () => {
  child = spawn('true', { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'exit');
  const target = Object.assign(child.stdin!, { fd: fifo });
  const out = createLogOutput(writerTo(target), lossOf);
  for (let i = 0; i < 5; i += 1) {
    out.write('nobody reads this\n');
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(out.destroyed).toBe(false);
  expect(target.destroyed).toBe(true);
});
