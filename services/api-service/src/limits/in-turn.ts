/**
 * Runs works one after the other, in the order of the calls. For transactions that all write the same rows: side by
 * side, PostgreSQL would roll most of them back again and again. Each process has turns of its own.
 */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
}
