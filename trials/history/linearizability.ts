import { isDeepStrictEqual } from 'node:util';
import { VisitedStates } from './visited-states.ts';
import { groupLost } from './lost-calls.ts';
import type { LostGroup } from './lost-calls.ts';
import type { Operation } from './operations.ts';
import { step, unwritten } from './register.ts';
import type { Register, Step } from './register.ts';

const STATES_MAX = 500_000;

/** The search had to be given up, so it is unknown whether an order exists. */
export class Undecided extends Error {
  override name = 'Undecided';
}

/** The longest order of the calls, if no order explains all answers. */
export interface Anomaly {
  name: string;
  /** The number of answers that the longest order explains. */
  explained: number;
  /** The number of all answers. */
  of: number;
  /** The state of the secret after the explained answers. */
  register: Register;
  /** The calls of which one had to come next. The answer of none of them is right in this state. */
  stuck: Operation[];
}

/**
 * Looks for one order of all calls to one name in which each call takes effect between its invocation and its answer,
 * and each answer is right: linearizability (Herlihy and Wing 1990). The search is that of Wing and Gong (1993), which
 * tries every call that may come next, with Lowe's (2017) memory of visited states. A lost call may take effect at any
 * time after its invocation, or never.
 * @throws Undecided
 */
export function findAnomaly(operations: Operation[], kept: number): Anomaly | undefined {
  const calls = prepare(operations, kept);
  const visited = new VisitedStates();
  const open: Order[] = [{ register: unwritten, first: 0, ahead: new Set(), used: calls.lost.map(() => 0) }];
  let furthest = open[0]!;

  for (let order = open.pop(); order; order = open.pop()) {
    const due = placeWithoutEffect(calls, order);
    if (due.calls.length === 0) return undefined;
    if (placed(order) > placed(furthest)) furthest = order;
    if (visited.covers(keyOf(order), order.used)) continue;
    if (visited.size > STATES_MAX) throw new Undecided(`${operations[0]!.name}: too many orders to try`);
    // The last order pushed is the next one tried, so lost calls are tried last.
    open.push(...placeLost(calls, order, due.deadline), ...placeDue(calls, order, due.calls));
  }
  return {
    name: operations[0]!.name,
    explained: placed(furthest),
    of: calls.answered.length,
    register: furthest.register,
    stuck: dueAfter(calls, furthest).calls.map((call) => calls.answered[call]!),
  };
}

/** The calls to put in order. */
interface Calls {
  /** In the order of their invocations. */
  answered: Operation[];
  lost: LostGroup[];
  /** The values in answers, by version: a version never has another value. */
  values: Map<number, string>;
  kept: number;
}

function prepare(operations: Operation[], kept: number): Calls {
  const ordered = operations.toSorted((a, b) => a.invokedAt - b.invokedAt);
  const answered = ordered.filter(({ outcome }) => outcome.is !== 'lost');
  return { answered, lost: groupLost(ordered), values: new Map(answered.flatMap(valueInAnswer)), kept };
}

function valueInAnswer({ request, outcome }: Operation): [number, string][] {
  if (outcome.is === 'read') return [[outcome.version, outcome.value]];
  return request.kind === 'put' && outcome.is === 'written' ? [[outcome.version, request.value]] : [];
}

/** The beginning of an order. */
interface Order {
  register: Register;
  /** The first answered call that is not placed yet. */
  first: number;
  /** The placed calls after `first`. */
  ahead: Set<number>;
  /** How many lost calls of each group are placed. */
  used: number[];
}

/**
 * Places every call that is due, has the right answer and changes nothing: if it can come later, it can also come now.
 * Returns the calls that are due after that.
 */
function placeWithoutEffect(calls: Calls, order: Order): Due {
  for (;;) {
    const due = dueAfter(calls, order);
    const free = due.calls.filter((call) => explain(calls, call, order.register)?.next === order.register);
    if (free.length === 0) return due;
    for (const call of free) place(order, call);
  }
}

interface Due {
  calls: number[];
  /** The time of the earliest answer among them: a call that began later cannot come before it. */
  deadline: number;
}

function dueAfter({ answered }: Calls, { first, ahead }: Order): Due {
  const calls: number[] = [];
  let deadline = Infinity;
  for (let call = first; call < answered.length && answered[call]!.invokedAt < deadline; call += 1) {
    if (ahead.has(call)) continue;
    calls.push(call);
    deadline = Math.min(deadline, answered[call]!.answeredAt);
  }
  return { calls, deadline };
}

function explain({ answered, kept }: Calls, call: number, register: Register): Step | undefined {
  const { request, outcome } = answered[call]!;
  const expected = step(register, request, kept);
  return isDeepStrictEqual(expected.outcome, outcome) ? expected : undefined;
}

function place(order: Order, call: number): void {
  order.ahead.add(call);
  while (order.ahead.delete(order.first)) order.first += 1;
}

function placeDue(calls: Calls, order: Order, due: number[]): Order[] {
  return due.flatMap((call) => {
    const register = explain(calls, call, order.register)?.next;
    if (!register || isContradicted(calls, register)) return [];
    const next = { ...order, register, ahead: new Set(order.ahead) };
    place(next, call);
    return [next];
  });
}

function placeLost(calls: Calls, order: Order, deadline: number): Order[] {
  return calls.lost.flatMap(({ requests, invokedAt }, group) => {
    const count = order.used[group] ?? 0;
    if (!((invokedAt[count] ?? Infinity) < deadline)) return [];
    const register = step(order.register, requests[count]!, calls.kept).next;
    if (register === order.register || isContradicted(calls, register)) return [];
    const used = order.used.with(group, count + 1);
    return [{ ...order, register, ahead: new Set(order.ahead), used }];
  });
}

function isContradicted({ values }: Calls, { newest, values: own }: Register): boolean {
  const answered = values.get(newest);
  return answered !== undefined && answered !== own.at(-1);
}

function placed({ first, ahead }: Order): number {
  return first + ahead.size;
}

function keyOf({ register, first, ahead }: Order): string {
  const { newest, values, trashed, restored } = register;
  return JSON.stringify([first, [...ahead].sort((a, b) => a - b), newest, values, trashed, restored]);
}
