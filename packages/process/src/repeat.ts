import { oncePerCause } from './once-per-cause.ts';

/**
 * Runs `work` every `periodMs`. If a run is still under way when the next one is due, that one is skipped. Passes
 * errors of `work` to `onError`, but not the same cause at every run: see `oncePerCause`. Disposal ends the repetition
 * and waits for the run under way.
 */
export function repeat(
  periodMs: number,
  work: () => Promise<void>,
  onError: (error: unknown) => void,
): AsyncDisposable {
  const { failed, worked } = oncePerCause(onError);
  let underWay: Promise<void> | undefined;
  const timer = setInterval(() => {
    underWay ??= work()
      .then(worked, failed)
      .finally(() => (underWay = undefined));
  }, periodMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await underWay;
    },
  };
}
