import { isDeepStrictEqual } from 'node:util';
import { BeenThere } from './been-there.ts';
import { groupLost } from './lost-calls.ts';
import type { LostGroup } from './lost-calls.ts';
import type { Operation } from './operations.ts';
import { step, unwritten } from './register.ts';
import type { Register, Step } from './register.ts';

const STATES_MAX = 500_000;

/** Nobody knows: the search was given up. */
export class Undecided extends Error {
  override name = 'Undecided';
}

/** How far an order of the calls can go, where none explains all of them. */
export interface Anomaly {
  name: string;
  /** How many answers the longest order explains. */
  explained: number;
  of: number;
  /** What the secret is after those. */
  register: Register;
  /** The answers of which one had to come next, and none can. */
  stuck: Operation[];
}

/**
 * Looks for one order of all the calls to one name in which each call stands between its invocation and its answer and
 * each answer is right: linearizability (Herlihy and Wing 1990). The search is that of Wing and Gong (1993), which tries
 * every call that may come next, with the memory of Lowe (2017) for where it has been. What was lost may stand anywhere
 * after its invocation, or nowhere. @throws Undecided
 */
export function findAnomaly(operations: Operation[], kept: number): Anomaly | undefined {
  const calls = prepare(operations, kept);
  const beenThere = new BeenThere();
  const open: Order[] = [{ register: unwritten, first: 0, ahead: new Set(), used: calls.lost.map(() => 0) }];
  let furthest = open[0]!;

  for (let order = open.pop(); order; order = open.pop()) {
    const due = placeWithoutEffect(calls, order);
    if (due.calls.length === 0) return undefined;
    if (placed(order) > placed(furthest)) furthest = order;
    if (beenThere.note(keyOf(order), order.used)) continue;
    if (beenThere.size > STATES_MAX) throw new Undecided(`${operations[0]!.name}: too many orders to try`);
    // The newest is the next to be looked at, so what was lost is tried last.
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

/** All that is to be ordered. */
interface Calls {
  /** By invocation. */
  answered: Operation[];
  lost: LostGroup[];
  /** The values that answers tell, by version: no version ever has another. */
  values: Map<number, string>;
  kept: number;
}

function prepare(operations: Operation[], kept: number): Calls {
  const ordered = operations.toSorted((a, b) => a.invokedAt - b.invokedAt);
  const answered = ordered.filter(({ outcome }) => outcome.is !== 'lost');
  return { answered, lost: groupLost(ordered), values: new Map(answered.flatMap(valueTold)), kept };
}

function valueTold({ question, outcome }: Operation): [number, string][] {
  if (outcome.is === 'read') return [[outcome.version, outcome.value]];
  return question.kind === 'put' && outcome.is === 'written' ? [[outcome.version, question.value]] : [];
}

/** An order so far. */
interface Order {
  register: Register;
  /** The first answered call that has no place yet. */
  first: number;
  /** Those after it that have one. */
  ahead: Set<number>;
  /** How many lost calls of each group have one. */
  used: number[];
}

/**
 * Gives every call that is due, and right, and changes nothing, its place at once: it could come later only if it could
 * come now. Answers what is due then.
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
  /** The soonest answer among them: nothing that began after it may come before it. */
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
  const { question, outcome } = answered[call]!;
  const expected = step(register, question, kept);
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
  return calls.lost.flatMap(({ questions, invokedAt }, group) => {
    const count = order.used[group] ?? 0;
    if (!((invokedAt[count] ?? Infinity) < deadline)) return [];
    const register = step(order.register, questions[count]!, calls.kept).next;
    if (register === order.register || isContradicted(calls, register)) return [];
    const used = order.used.with(group, count + 1);
    return [{ ...order, register, ahead: new Set(order.ahead), used }];
  });
}

function isContradicted({ values }: Calls, { newest, values: own }: Register): boolean {
  const told = values.get(newest);
  return told !== undefined && told !== own.at(-1);
}

function placed({ first, ahead }: Order): number {
  return first + ahead.size;
}

function keyOf({ register, first, ahead }: Order): string {
  const { newest, trashedThrough, values } = register;
  return JSON.stringify([first, [...ahead].sort((a, b) => a - b), newest, trashedThrough, values]);
}
