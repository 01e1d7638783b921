/** Runs work one after the other, in the order of the calls. Work that fails does not hold up the next. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Makes a row of turns. It is for work that writes the same files or rows: side by side, calls would damage the file, or
 * PostgreSQL would roll most of them back again and again. Each process has turns of its own.
 */
export function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
}
