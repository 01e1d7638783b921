import { rootCause } from './cause.ts';

/** So often a failure is told that goes on. */
const AGAIN_MS = 60_000;

/** Tells of a failure that may happen many times a second. */
export interface OncePerCause {
  /** Calls `tell` if the cause is another one than before, and every minute. */
  failed(error: unknown): void;
  /** It works again: the next failure is told. */
  worked(): void;
}

/** A log that has the same failure on every line hides the others, and fills the disk. */
export function oncePerCause(tell: (error: unknown) => void): OncePerCause {
  let told: { cause: string; at: number } | undefined;
  return {
    failed(error) {
      const cause = String(rootCause(error));
      const at = performance.now();
      if (told?.cause === cause && at - told.at < AGAIN_MS) return;
      told = { cause, at };
      tell(error);
    },
    worked: () => void (told = undefined),
  };
}
