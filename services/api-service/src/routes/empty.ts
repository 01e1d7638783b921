/** The reply of what has nothing to show but that it was done. */
export function empty(): { empty: true } {
  return { empty: true };
}
