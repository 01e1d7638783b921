import { parentPort, workerData } from 'node:worker_threads';
import { AppError } from '@cardea/contracts/errors';
import { parseDocument } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { ParsedItem } from './document-item.ts';

// The thread of `readDocument`. It reads one document.

export interface ThreadInput {
  format: DocumentFormat;
  content: string;
}

/** An error keeps only its name and its message on the way out of a thread, so it is sent as data. */
export type ThreadAnswer = { items: ParsedItem[] } | { refused: Pick<AppError, 'code' | 'message' | 'errors'> };

function read({ format, content }: ThreadInput): ThreadAnswer {
  try {
    return parseDocument(format, content);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const { code, message, errors } = error;
    return { refused: { code, message, errors } };
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort!.postMessage(read(workerData as ThreadInput));
