/** A reply without a body. */
export function empty(): { empty: true } {
  return { empty: true };
}
