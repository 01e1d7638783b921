/**
 * Does `work` every `periodMs`, and never twice at once: a period that ends while it is still under way is left out.
 * What it throws goes to `onError`. Disposing of it ends that, and waits for what is under way.
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
