import type { KeyObject } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { isSignatureOfDigestNow, signDigestNow } from './digest-signatures.ts';
import type { DigestTerms } from './digest-signatures.ts';

// The thread of `inDigestThread`. It signs and verifies digests, one after the other.

export interface DigestWork {
  id: number;
  key: KeyObject;
  digest: Uint8Array;
  terms: DigestTerms;
  /** Of what is verified. Undefined signs. */
  signature?: Uint8Array | undefined;
}

/** An error keeps only its name and its message on the way out of a thread, so it is sent as text. */
export type DigestAnswer = { id: number } & ({ made: Uint8Array } | { holds: boolean } | { failed: string });

function answerTo({ id, key, digest, terms, signature }: DigestWork): DigestAnswer {
  try {
    if (signature === undefined) return { id, made: signDigestNow(key, digest, terms) };
    return { id, holds: isSignatureOfDigestNow(key, digest, signature, terms) };
  } catch (error) {
    return { id, failed: String(error) };
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort!.on('message', (work: DigestWork) => parentPort!.postMessage(answerTo(work)));
