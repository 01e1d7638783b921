import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsistencyProof, InclusionProof, RefusedQuestion } from '@cardea/contracts/audit-api';
import { SECOND_MS } from '@cardea/contracts/durations';
import { toBase64 } from '@cardea/crypto/encoding';
import { consistencyProof, inclusionProof } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import type { z } from 'zod';
import type { AuditStore } from '../append/log.ts';
import { storedTree } from '../entry-store.ts';
import type { Signer } from '../sign/checkpoint.ts';
import type { LastSigned } from '../sign/last-signed.ts';

export interface ProvingContext {
  db: Db;
  log: Pick<AuditStore, 'size'>;
  checkpoints: ProofCheckpoints;
}

/** A proof, or why there is none. */
export type Proved<T> = { proof: T } | { refused: RefusedQuestion };

/** The checkpoints that proofs are made for. */
export interface ProofCheckpoints {
  /** The newest checkpoint, or a newer one if it covers less than the first `size` entries, which the log has. */
  over(size: number): Promise<LastSigned>;
}

/**
 * Signs for proofs, at most once a second: a signature costs a read of the new entries and a write to the disk, and
 * every caller may ask for proofs. All who wait share a signature.
 */
export function createProofCheckpoints(signer: Pick<Signer, 'newest' | 'signIfGrown'>): ProofCheckpoints {
  let next: Promise<LastSigned> | undefined;
  let signedAtMs = -Infinity;

  async function signNext(): Promise<LastSigned> {
    await sleep(Math.max(0, signedAtMs + SECOND_MS - performance.now()));
    signedAtMs = performance.now();
    // The entries of who comes from here on may be missing in this signature.
    next = undefined;
    return signer.signIfGrown();
  }

  return {
    async over(size) {
      const newest = signer.newest();
      return newest.size >= size ? newest : (next ??= signNext());
    },
  };
}

/** Proves that an entry is in the log, for a signed size. Reads at most 256 leaves and some stored subtrees. */
export async function proveInclusion(
  { db, log, checkpoints }: ProvingContext,
  { seq, size }: { seq: number; size?: number | undefined },
): Promise<Proved<z.output<typeof InclusionProof>>> {
  // Before anything is signed: what does not exist must cost nothing.
  if ((size ?? 0) > log.size()) return beyondLog('size', log);
  if (seq >= log.size()) return beyondLog('seq', log);
  if (size !== undefined && seq >= size) return refused('seq', 'must be less than size');
  const signed = await checkpoints.over(Math.max(seq + 1, size ?? 0));
  return { proof: await inclusionIn(db, seq, size ?? signed.size) };
}

/** Proves that the log of a signed size continues that of a smaller one. */
export async function proveConsistency(
  { db, log, checkpoints }: ProvingContext,
  { from, to }: { from: number; to?: number | undefined },
): Promise<Proved<z.output<typeof ConsistencyProof>>> {
  if ((to ?? 0) > log.size()) return beyondLog('to', log);
  if (to !== undefined && from > to) return refused('from', 'must not be greater than to');
  if (from > log.size()) return beyondLog('from', log);
  const signed = await checkpoints.over(Math.max(from, to ?? 0));
  const end = to ?? signed.size;
  const hashes = await consistencyProof(storedTree(db), from, end);
  return { proof: { from, to: end, hashes: hashes.map(toBase64) } };
}

/**
 * Writes a C2SP tlog-proof for whoever has the receipt of an entry. The leaf of an entry cannot be guessed, so nobody
 * else learns anything, or makes the log sign.
 */
export async function proveReceipt(
  { db, log, checkpoints }: ProvingContext,
  { seq, leaf }: { seq: number; leaf: string },
): Promise<Proved<string>> {
  if (seq >= log.size() || leaf !== toBase64(await leafAt(db, seq))) {
    return refused('leaf', 'the log has no entry with this number and this leaf');
  }
  const { size, note } = await checkpoints.over(seq + 1);
  const { hashes } = await inclusionIn(db, seq, size);
  return { proof: ['c2sp.org/tlog-proof@v1', `index ${seq}`, ...hashes, '', note].join('\n') };
}

async function leafAt(db: Db, seq: number): Promise<Uint8Array> {
  const [leaf] = await storedTree(db).leaves(seq, seq + 1);
  if (!leaf) throw new Error(`entry ${seq} is missing`);
  return leaf;
}

async function inclusionIn(db: Db, seq: number, size: number): Promise<z.output<typeof InclusionProof>> {
  const [hashes, leaf] = await Promise.all([inclusionProof(storedTree(db), seq, size), leafAt(db, seq)]);
  return { seq, size, leaf: toBase64(leaf), hashes: hashes.map(toBase64) };
}

function beyondLog(parameter: string, log: ProvingContext['log']): { refused: RefusedQuestion } {
  return refused(parameter, `the log has ${log.size()} entries, numbered from 0`);
}

function refused(parameter: string, message: string): { refused: RefusedQuestion } {
  return { refused: { parameter, message, unknown: false } };
}
