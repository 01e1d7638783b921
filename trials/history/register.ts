import type { Outcome, Question } from './operations.ts';

/** What a secret is at one moment, as the contract has it: a register whose values count up. */
export interface Register {
  /** The number of the newest version, in the trash or not; 0 if nothing was ever written. */
  readonly newest: number;
  /** Versions up to this one are in the trash. */
  readonly trashedThrough: number;
  /** The values of the last versions, the newest last; null for one that made way while others in the trash stayed. */
  readonly values: readonly (string | null)[];
}

/** A name that nobody has written to. */
export const unwritten: Register = { newest: 0, trashedThrough: 0, values: [] };

/** A register and the only right answer; the very same register if the call changes nothing. */
export interface Step {
  outcome: Outcome;
  next: Register;
}

/** What one call does, and what it must answer, if `kept` versions of a secret are kept. */
export function step(register: Register, question: Question, kept: number): Step {
  if (question.kind === 'put') return put(register, question, kept);
  if (question.kind === 'get') return { outcome: get(register, question), next: register };
  return question.kind === 'delete' ? remove(register, question) : restore(register);
}

type Asked<K extends Question['kind']> = Extract<Question, { kind: K }>;

function put(register: Register, { value, ifMatch, ifAbsent }: Asked<'put'>, kept: number): Step {
  const { newest, trashedThrough, values } = register;
  const live = isLive(register);
  if ((ifMatch !== undefined && !(live && ifMatch === newest)) || (ifAbsent && live)) return refused(register);
  if (live && values.at(-1) === value) {
    return { outcome: { is: 'written', version: newest, changed: false, isNew: false }, next: register };
  }
  const version = newest + 1;
  return {
    outcome: { is: 'written', version, changed: true, isNew: !live },
    next: {
      newest: version,
      trashedThrough,
      values: withRoom([...values, value], { newest: version, after: trashedThrough, through: version - kept }),
    },
  };
}

/** Without the versions after `after` and up to `through`: what is in the trash neither counts nor goes. */
function withRoom(
  values: (string | null)[],
  { newest, after, through }: { newest: number; after: number; through: number },
): (string | null)[] {
  const first = newest - values.length + 1;
  const left = values.map((value, i) => (first + i > after && first + i <= through ? null : value));
  return left.slice(left.findIndex((value) => value !== null));
}

function get(register: Register, { version = register.newest, unlessVersion }: Asked<'get'>): Outcome {
  const { newest, trashedThrough, values } = register;
  const value = version > trashedThrough ? values[version - newest + values.length - 1] : undefined;
  if (value === undefined || value === null) return { is: 'missing' };
  return unlessVersion === version ? { is: 'known already', version } : { is: 'read', version, value };
}

function remove(register: Register, { ifMatch }: Asked<'delete'>): Step {
  if (!isLive(register)) return { outcome: { is: 'missing' }, next: register };
  if (ifMatch !== undefined && ifMatch !== register.newest) return refused(register);
  return { outcome: { is: 'deleted' }, next: { ...register, trashedThrough: register.newest } };
}

function restore(register: Register): Step {
  if (register.trashedThrough === 0) return { outcome: { is: 'missing' }, next: register };
  return { outcome: { is: 'restored', version: register.newest }, next: { ...register, trashedThrough: 0 } };
}

function refused(register: Register): Step {
  return { outcome: { is: 'precondition failed' }, next: register };
}

function isLive({ newest, trashedThrough }: Register): boolean {
  return newest > trashedThrough;
}
