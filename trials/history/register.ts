import type { Outcome, Request } from './operations.ts';

/** The state of a secret by the contract: a register whose values are numbered. */
export interface Register {
  /** The number of the newest version, in the trash or not; 0 if nothing was ever written. */
  readonly newest: number;
  /** The values of the last versions, the newest last. Null for a version that was removed while older versions stayed in the trash. */
  readonly values: readonly (string | null)[];
  /** The versions in the trash, counting up. */
  readonly trashed: readonly number[];
  /** The versions that were restored beside newer ones, counting up: they return to the trash and make no way. */
  readonly restored: readonly number[];
}

/** A name that was never written. */
export const unwritten: Register = { newest: 0, values: [], trashed: [], restored: [] };

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
  const { newest, values } = register;
  const live = isLive(register);
  if ((ifMatch !== undefined && !(live && ifMatch === newest)) || (ifAbsent && live)) return refused(register);
  if (live && values.at(-1) === value) {
    return { outcome: { is: 'written', version: newest, changed: false, isNew: false }, next: register };
  }
  const version = newest + 1;
  const next = { ...register, newest: version, values: [...values, value] };
  return {
    outcome: { is: 'written', version, changed: true, isNew: !live },
    next: withRoom(next, { through: version - kept }),
  };
}

/** Removes the versions up to `through`, except those in the trash and those that return to it. */
function withRoom({ newest, values, trashed, restored }: Register, { through }: { through: number }): Register {
  const first = newest - values.length + 1;
  const returned = restored.filter((version) => version <= through);
  const staying = [...trashed, ...returned].toSorted((a, b) => a - b);
  const left = values.map((value, i) => (first + i <= through && !staying.includes(first + i) ? null : value));
  return {
    newest,
    values: left.slice(left.findIndex((value) => value !== null)),
    trashed: staying,
    restored: restored.filter((version) => version > through),
  };
}

function get(register: Register, { version = register.newest, unlessVersion }: RequestOf<'get'>): Outcome {
  const { newest, values, trashed } = register;
  const value = trashed.includes(version) ? undefined : values[version - newest + values.length - 1];
  if (value === undefined || value === null) return { is: 'missing' };
  return unlessVersion === version ? { is: 'known already', version } : { is: 'read', version, value };
}

function remove(register: Register, { ifMatch }: RequestOf<'delete'>): Step {
  if (!isLive(register)) return { outcome: { is: 'missing' }, next: register };
  const { newest, values } = register;
  if (ifMatch !== undefined && ifMatch !== newest) return refused(register);
  const first = newest - values.length + 1;
  const trashed = values.flatMap((value, i) => (value === null ? [] : [first + i]));
  return { outcome: { is: 'deleted', version: newest }, next: { newest, values, trashed, restored: [] } };
}

function restore(register: Register): Step {
  const { newest, values, trashed } = register;
  if (trashed.length === 0) return { outcome: { is: 'missing' }, next: register };
  const besideNewer = isLive(register) ? [...register.restored, ...trashed].toSorted((a, b) => a - b) : [];
  return {
    outcome: { is: 'restored', version: newest },
    next: { newest, values, trashed: [], restored: besideNewer },
  };
}

function refused(register: Register): Step {
  return { outcome: { is: 'precondition failed' }, next: register };
}

function isLive({ newest, trashed }: Register): boolean {
  return newest > 0 && trashed.at(-1) !== newest;
}
