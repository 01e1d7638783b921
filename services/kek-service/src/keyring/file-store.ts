import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '@cardea/contracts/errors';
import { withCause } from '@cardea/process/cause';
import { StartError } from '@cardea/process/config';
import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { z } from 'zod';
import { createTurns } from '@cardea/process/in-turn';
import { documentText, parseDocument } from './format.ts';
import type { KeyringDocument } from './format.ts';
import type { KeyringStore } from './store.ts';

const KEYRING = 'keyring.json';
const GENERATION = 'generation.json';
const MODE = 0o600;

/** The highest generation that was ever in the folder, and the highest one whose records the audit log has. */
const Generation = z.strictObject({ highest: z.int().min(1), recorded: z.int().min(0) });
type Generation = z.output<typeof Generation>;

/** Writes a first keyring into a new folder. Resolves once it is durable. */
export async function writeFirstKeyring(folder: string, document: KeyringDocument): Promise<void> {
  await replaceFile(join(folder, KEYRING), documentText(document), MODE);
  await writeGeneration(folder, { highest: document.generation, recorded: 0 });
}

/**
 * Takes the keyring that lies in the folder as the newest, for an operator who had to put back an older one.
 * @throws StartError if there is none, or it is damaged
 */
export async function acceptKeyring(folder: string): Promise<KeyringDocument> {
  const document = await readDocument(folder);
  await writeGeneration(folder, { highest: document.generation, recorded: 0 });
  return document;
}

/**
 * The keyring in the files of a folder, mode 0600, which one process at a time may use. Reading removes what a crash in
 * the middle of a write left behind.
 */
export function createFileStore(folder: string): KeyringStore {
  // The records of a change and those that the timer sends may be noted at the same time.
  const inTurn = createTurns();
  return {
    async read() {
      for (const name of [KEYRING, GENERATION]) await rm(join(folder, `${name}.tmp`), { force: true });
      const document = await readDocument(folder);
      const { generation } = document;
      const seen = await readGeneration(folder);
      if (generation < seen.highest) throw rolledBack(folder, generation, seen.highest);
      // A crash came between the two writes of a replacement.
      if (generation > seen.highest) await writeGeneration(folder, { ...seen, highest: generation });
      return { document, isRecorded: seen.recorded >= generation };
    },
    replace: (expectedGeneration, document) => inTurn(() => replace(folder, expectedGeneration, document)),
    markRecorded: (generation) => inTurn(() => markRecorded(folder, generation)),
  };
}

async function replace(folder: string, expectedGeneration: number, document: KeyringDocument): Promise<void> {
  const { generation } = await readDocument(folder);
  if (generation !== expectedGeneration || document.generation !== expectedGeneration + 1) {
    throw new AppError('conflict', `the keyring is of generation ${generation}, not ${expectedGeneration}`);
  }
  const seen = await readGeneration(folder);
  await replaceFile(join(folder, KEYRING), documentText(document), MODE).catch(refuseIfFull);
  await writeGeneration(folder, { ...seen, highest: document.generation });
}

async function markRecorded(folder: string, generation: number): Promise<void> {
  const { highest, recorded } = await readGeneration(folder);
  await writeGeneration(folder, { highest, recorded: Math.max(recorded, generation) });
}

async function readDocument(folder: string): Promise<KeyringDocument> {
  const path = join(folder, KEYRING);
  const text = await readText(path);
  try {
    return parseDocument(text);
  } catch (cause) {
    throw new StartError(`The keyring ${path} is damaged: put it back from a backup.`, { cause });
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      throw new StartError(`${withCause(`The keyring ${path} cannot be read`, cause)}.`, { cause });
    throw new StartError(
      `The keyring ${path} is missing, and what was encrypted with it opens with nothing else: put it back from a backup.`,
      { cause },
    );
  }
}

async function readGeneration(folder: string): Promise<Generation> {
  const path = join(folder, GENERATION);
  const text = await readIfThere(path);
  try {
    return Generation.parse(JSON.parse(text ?? ''));
  } catch (cause) {
    const what = text === undefined ? 'missing' : 'damaged';
    throw new StartError(
      `The file ${path} is ${what}, so an old keyring cannot be told from the newest one: put it back from the backup ` +
        'of the keyring, or, if you know that the keyring is the newest, run pnpm seal accept-keyring.',
      { cause },
    );
  }
}

function writeGeneration(folder: string, { highest, recorded }: Generation): Promise<void> {
  return replaceFile(join(folder, GENERATION), `${JSON.stringify({ highest, recorded })}\n`, MODE);
}

function rolledBack(folder: string, generation: number, highest: number): StartError {
  return new StartError(
    `The keyring ${join(folder, KEYRING)} is of generation ${generation}, and there was a newer one, of generation ` +
      `${highest}: put that one back. An older keyring lacks newer KEKs and still opens by seals that were removed.`,
  );
}

// The new text did not get as far as its name, so the old document stands.
function refuseIfFull(cause: unknown): never {
  const { code } = cause as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause;
  throw new AppError('unavailable', 'the disk of kek-service is full', { cause });
}
