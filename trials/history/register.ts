import type { Outcome, Request } from './operations.ts';

/** The state of a secret by the contract: a register whose values are numbered. */
export interface Register {
  /** The number of the newest version, in the trash or not; 0 if nothing was ever written. */
  readonly newest: number;
  /** Versions up to this one are in the trash. */
  readonly trashedThrough: number;
  /**
   * The values of the last versions, the newest last. Null for a version that was destroyed while older versions stayed
   * in the trash.
   */
  readonly values: readonly (string | null)[];
}

/** A name that was never written. */
export const unwritten: Register = { newest: 0, trashedThrough: 0, values: [] };

/** The only right answer and the next register, which is the same object if the call changes nothing. */
export interface Step {
  outcome: Outcome;
  next: Register;
}

/** Returns the effect of one call and the answer it must get, if `kept` versions of a secret are kept. */
export function step(register: Register, request: Request, kept: number): Step {
  if (request.kind === 'put') return put(register, request, kept);
  if (request.kind === 'get') return { outcome: get(register, request), next: register };
  return request.kind === 'delete' ? remove(register, request) : restore(register);
}

type RequestOf<K extends Request['kind']> = Extract<Request, { kind: K }>;

function put(register: Register, { value, ifMatch, ifAbsent }: RequestOf<'put'>, kept: number): Step {
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

/** Removes the versions after `after` and up to `through`. Versions in the trash are not counted and not removed. */
function withRoom(
  values: (string | null)[],
  { newest, after, through }: { newest: number; after: number; through: number },
): (string | null)[] {
  const first = newest - values.length + 1;
  const left = values.map((value, i) => (first + i > after && first + i <= through ? null : value));
  return left.slice(left.findIndex((value) => value !== null));
}

function get(register: Register, { version = register.newest, unlessVersion }: RequestOf<'get'>): Outcome {
  const { newest, trashedThrough, values } = register;
  const value = version > trashedThrough ? values[version - newest + values.length - 1] : undefined;
  if (value === undefined || value === null) return { is: 'missing' };
  return unlessVersion === version ? { is: 'known already', version } : { is: 'read', version, value };
}

function remove(register: Register, { ifMatch }: RequestOf<'delete'>): Step {
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
