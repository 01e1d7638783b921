import { AuditEvent } from '@cardea/contracts/audit-event';
import { StartError } from '@cardea/process/config';
import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { z } from 'zod';

const Times = z.record(z.string(), z.int());

/** Which services may not unwrap, by their names. Times are in milliseconds since 1970. */
const Freezes = z.strictObject({
  frozenAt: Times,
  /** When a service was last unfrozen by another one than an operator. */
  unfrozenAt: Times,
  /** What the audit log does not have yet. */
  records: z.array(AuditEvent),
});

export type Freezes = z.output<typeof Freezes>;

/** Reads the freezes; there are none without a file. @throws StartError if the file is damaged */
export async function readFreezes(path: string): Promise<Freezes> {
  const text = await readIfThere(path);
  if (text === undefined) return { frozenAt: {}, unfrozenAt: {}, records: [] };
  try {
    return Freezes.parse(JSON.parse(text));
  } catch (cause) {
    throw new StartError(
      `The file ${path}, which says whose unwraps are frozen, is damaged: delete it if you know that none are.`,
      { cause },
    );
  }
}

/** Replaces the file. Resolves once it is durable. */
export function writeFreezes(path: string, freezes: Freezes): Promise<void> {
  return replaceFile(path, `${JSON.stringify(freezes)}\n`, 0o600);
}
