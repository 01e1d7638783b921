/**
 * Milliseconds since some fixed time. Nobody can set this clock, so it never steps. What waits, expires or is counted in
 * the memory of a process uses it: a wait by the time of day would last for hours after a clock that ran ahead was set
 * right, and end at once when it is set forward. The time of day is only for what is stored or shown.
 */
export type SteadyClock = () => number;

export const steadyClock: SteadyClock = () => performance.now();
