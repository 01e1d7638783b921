import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { AppError } from '@cardea/contracts/errors';
import { parseDocument } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { ParsedItem } from './document-item.ts';
import type { ThreadAnswer, ThreadInput } from './document-thread.ts';

/** Characters. To read 4 MiB of YAML takes half a second of computing, and a thread takes a twentieth to start. */
const LARGE = 128 * 1024;

/** Like `parseDocument`. A large document is read in a thread of its own: a parser lets nobody in until its end. */
export async function readDocument(format: DocumentFormat, content: string): Promise<ParsedItem[]> {
  if (content.length <= LARGE) return parseDocument(format, content).items;
  const workerData: ThreadInput = { format, content };
  const thread = new Worker(new URL('document-thread.ts', import.meta.url), { workerData });
  try {
    const [answer] = (await once(thread, 'message')) as [ThreadAnswer];
    if ('items' in answer) return answer.items;
    const { code, message, errors } = answer.refused;
    throw new AppError(code, message, { ...(errors && { errors }) });
  } finally {
    await thread.terminate();
  }
}
