/**
 * Runs `work` every `periodMs`. If a run is still under way when the next one is due, that one is skipped. Passes
 * errors of `work` to `onError`. Disposal ends the repetition and waits for the run under way.
 */
export function repeat(
  periodMs: number,
  work: () => Promise<void>,
  onError: (error: unknown) => void,
): AsyncDisposable {
  let underWay: Promise<void> | undefined;
  const timer = setInterval(() => {
    underWay ??= work()
      .catch(onError)
      .finally(() => (underWay = undefined));
  }, periodMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await underWay;
    },
  };
}
