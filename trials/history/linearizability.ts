import { isDeepStrictEqual } from 'node:util';
import type { Operation, Outcome } from './operations.ts';
import { step, unwritten } from './register.ts';
import type { Register, Step } from './register.ts';

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
 * tries every call that may come next, with Lowe's (2017) memory of visited states. `operations` has no lost call
 * (`settle` decides them), so there are few orders to try: most calls are alone, or their version says when they were
 * done.
 */
export function findAnomaly(operations: Operation[], kept: number): Anomaly | undefined {
  const calls = prepare(operations, kept);
  const visited = new Set<string>();
  const open: Order[] = [{ register: unwritten, first: 0, ahead: new Set() }];
  let furthest = open[0]!;

  for (let order = open.pop(); order; order = open.pop()) {
    const due = placeWithoutEffect(calls, order);
    if (due.length === 0) return undefined;
    if (placed(order) > placed(furthest)) furthest = order;
    const key = keyOf(order);
    if (visited.has(key)) continue;
    visited.add(key);
    open.push(...placeDue(calls, order, due));
  }
  return {
    name: operations[0]!.name,
    explained: placed(furthest),
    of: calls.ordered.length,
    register: furthest.register,
    stuck: dueAfter(calls, furthest).map((call) => calls.ordered[call]!),
  };
}

/** The calls to put in order. */
interface Calls {
  /** In the order of their invocations. */
  ordered: Operation[];
  /** The values in answers, by version: a version never has another value. */
  values: Map<number, string>;
  kept: number;
}

function prepare(operations: Operation[], kept: number): Calls {
  const ordered = operations.toSorted((a, b) => a.invokedAt - b.invokedAt);
  return { ordered, values: new Map(ordered.flatMap(valueInAnswer)), kept };
}

function valueInAnswer({ request, outcome }: Operation): [number, string][] {
  if (outcome.is === 'read') return [[outcome.version, outcome.value]];
  return request.kind === 'put' && outcome.is === 'written' ? [[outcome.version, request.value]] : [];
}

/** The beginning of an order. */
interface Order {
  register: Register;
  /** The first call that is not placed yet. */
  first: number;
  /** The placed calls after `first`. */
  ahead: Set<number>;
}

/**
 * Places every call that is due, has the right answer and changes nothing: if it can come later, it can also come now.
 * Returns the calls that are due after that.
 */
function placeWithoutEffect(calls: Calls, order: Order): number[] {
  for (;;) {
    const due = dueAfter(calls, order);
    const free = due.filter((call) => explain(calls, call, order.register)?.next === order.register);
    if (free.length === 0) return due;
    for (const call of free) place(order, call);
  }
}

/** The calls that may come next: those that began before the earliest answer among them. */
function dueAfter({ ordered }: Calls, { first, ahead }: Order): number[] {
  const due: number[] = [];
  let deadline = Infinity;
  for (let call = first; call < ordered.length && ordered[call]!.invokedAt < deadline; call += 1) {
    if (ahead.has(call)) continue;
    due.push(call);
    deadline = Math.min(deadline, ordered[call]!.answeredAt);
  }
  return due;
}

function explain({ ordered, kept }: Calls, call: number, register: Register): Step | undefined {
  const { request, outcome } = ordered[call]!;
  const expected = step(register, request, kept);
  return agrees(outcome, expected.outcome) ? expected : undefined;
}

// An outcome may lack details that the contract decides, and none may differ.
function agrees(outcome: Outcome, expected: Outcome): boolean {
  return isDeepStrictEqual({ ...expected, ...outcome }, expected);
}

function place(order: Order, call: number): void {
  order.ahead.add(call);
  while (order.ahead.delete(order.first)) order.first += 1;
}

function placeDue(calls: Calls, order: Order, due: number[]): Order[] {
  return firstOfEqual(calls, due).flatMap((call) => {
    const register = explain(calls, call, order.register)?.next;
    if (!register || isContradicted(calls, register)) return [];
    const next = { register, first: order.first, ahead: new Set(order.ahead) };
    place(next, call);
    return [next];
  });
}

/** Of calls with the same request and outcome, the one that was answered first can always come first. */
function firstOfEqual({ ordered }: Calls, due: number[]): number[] {
  const byAnswer = due.toSorted((a, b) => (ordered[a]!.answeredAt < ordered[b]!.answeredAt ? -1 : 1));
  const firsts = new Map<string, number>();
  for (const call of byAnswer) {
    const { request, outcome } = ordered[call]!;
    const what = JSON.stringify([request, outcome]);
    if (!firsts.has(what)) firsts.set(what, call);
  }
  return [...firsts.values()];
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
