import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '@cardea/process/durable-file';
import { toLines } from './sink.ts';
import type { Sink } from './sink.ts';

const OWNER_ONLY = 0o600;
const NEWLINE = 0x0a;
/** Each entry begins with it. */
const BRACE = 0x7b;

/** As much of the end of the file is read as surely has the last line: an entry has at most 16 KiB. */
const TAIL_BYTES = 64 * 1024;

/**
 * A file to which entries are appended, one in each line. What was delivered is on disk. If the file is moved or removed,
 * the next delivery makes a new one.
 */
export function createFileSink(path: string): Sink {
  let file: FileHandle | undefined;
  let last: Uint8Array | undefined;
  /** After a failed sync the system may say that lines are on disk which it has given up. All of them are written again. */
  let isDoubtful = false;

  async function close(): Promise<void> {
    await file?.close();
    file = undefined;
  }

  async function current(): Promise<FileHandle> {
    if (file && !(await isAt(path, file))) await close();
    if (file) return file;
    file = await open(path, 'a+', OWNER_ONLY);
    await syncFolder(dirname(path));
    const found = await lastLine(file);
    last = isDoubtful ? undefined : found;
    return file;
  }

  return {
    async deliver({ entries }) {
      try {
        const opened = await current();
        // After a crash, or if its position was not stored, the file has entries that are delivered again.
        const known = entries.findIndex((entry) => last !== undefined && Buffer.compare(last, entry) === 0);
        await opened.appendFile(toLines(entries.slice(known + 1)));
        isDoubtful = true;
        await opened.sync();
        isDoubtful = false;
        last = entries.at(-1);
      } catch (error) {
        // A write may have ended within a line. Whoever opens the file again looks for that.
        await close();
        throw error;
      }
    },
    close,
  };
}

async function isAt(path: string, file: FileHandle): Promise<boolean> {
  try {
    const [named, opened] = await Promise.all([stat(path, { bigint: true }), file.stat({ bigint: true })]);
    return named.ino === opened.ino && named.dev === opened.dev;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Returns the last line, if there is one, and cuts off what was written half. */
async function lastLine(file: FileHandle): Promise<Buffer | undefined> {
  const { size } = await file.stat();
  const from = Math.max(0, size - TAIL_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
  const tail = buffer.subarray(0, bytesRead);
  const end = tail.lastIndexOf(NEWLINE);
  // Nothing of a file that somebody else has written is cut off.
  const rest = tail[end + 1];
  const isForeign = (end === -1 && from > 0) || (rest !== undefined && rest !== BRACE);
  if (isForeign) throw new Error('the end of the file is no entry of the log');
  if (end + 1 < tail.length) await file.truncate(from + end + 1);
  if (end === -1) return undefined;
  return tail.subarray(tail.subarray(0, end).lastIndexOf(NEWLINE) + 1, end);
}
