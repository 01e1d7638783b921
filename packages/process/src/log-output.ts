import { fstatSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';

/** How much of a log may wait for a slow reader. */
const WAITING_BYTES_MAX = 1_048_576;

/** A place for log lines, such as stdout. */
export interface LogTarget extends NodeJS.WritableStream {
  readonly fd: number;
  readonly writableLength: number;
  readonly isTTY?: boolean;
}

/** The line that tells how many lines were lost, and why: the code of the first error. */
export type DescribeLoss = (count: number, code: string) => string;

/**
 * A stream for log lines that never fails and never makes its writers wait. If a line cannot be written now (the disk is
 * full, the reader is slow or gone), it is dropped and counted: a log must neither end a service nor fill its memory.
 * Once lines can be written again, the first of them says how many were lost. Each chunk must be whole lines.
 */
export function createLogOutput(write: Write, describeLoss: DescribeLoss): Writable {
  const lost = { count: 0, code: '' };

  return new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      const text = String(chunk);
      const code = write(lost.count > 0 ? `${describeLoss(lost.count, lost.code)}\n${text}` : text);
      if (code === undefined) {
        lost.count = 0;
      } else {
        if (lost.count === 0) lost.code = code;
        lost.count += text.split('\n').length - 1;
      }
      done();
    },
  });
}

/** Writes a text whole and returns undefined, or returns the code of the error. */
export type Write = (text: string) => string | undefined;

/** Writes to stdout. */
export function writerTo(target: LogTarget): Write {
  const found = fstatSync(target.fd);
  // Node's own stream for a file, or for a device such as /dev/null, is closed for ever by its first error.
  const isFile = found.isFile() || (found.isCharacterDevice() && target.isTTY !== true);
  return isFile ? fileWriter(target.fd) : streamWriter(target);
}

/** For a file descriptor whose writes take effect at once or fail. */
export function fileWriter(fd: number): Write {
  // After a write that broke off in a line, the next line must not continue it.
  let isInLine = false;
  return (text) => {
    let rest = Buffer.from(isInLine ? `\n${text}` : text);
    try {
      while (rest.length > 0) {
        const written = writeSync(fd, rest);
        if (written > 0) isInLine = rest[written - 1] !== NEW_LINE;
        rest = rest.subarray(written);
      }
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  };
}

const NEW_LINE = 0x0a;

// A pipe, a socket or a terminal.
function streamWriter(target: LogTarget): Write {
  const error = errorOf(target);
  return (text) => {
    if (error.code !== undefined) return error.code;
    if (target.writableLength + text.length > WAITING_BYTES_MAX) return 'EAGAIN';
    target.write(text);
    return undefined;
  };
}

/** The first error of each target. Several services in one process share its stdout, and one listener. */
const errors = new WeakMap<LogTarget, { code?: string }>();

function errorOf(target: LogTarget): { code?: string } {
  const known = errors.get(target);
  if (known) return known;
  const first: { code?: string } = {};
  target.on('error', ({ code }: NodeJS.ErrnoException) => (first.code ??= code ?? 'unknown'));
  errors.set(target, first);
  return first;
}
