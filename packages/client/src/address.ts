import { refused } from './errors.ts';

/** Where a secret or a key is. `version` is one of its versions; without it, the newest. */
export interface Address {
  vault: string;
  name: string;
  version?: number;
}

/** `payments/db/password`: a vault and a name. `payments/db/password@3`: a version of it. */
export type AddressText = string;

const ADDRESS =
  /^(?<vault>[a-z0-9][a-z0-9._-]{0,62})\/(?<name>[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*)(?:@(?<version>[1-9]\d{0,15}))?$/;

/** Takes an address apart. The name of a vault has no slash, so there is only one way. @throws CardeaError `invalid_request` */
export function parseAddress(text: AddressText): Address {
  const { vault, name, version } = ADDRESS.exec(text)?.groups ?? {};
  if (vault === undefined || name === undefined || hasDots(name)) {
    throw refused(`"${text}" is not an address like payments/db/password or payments/db/password@3`);
  }
  return { vault, name, ...(version === undefined ? {} : { version: Number(version) }) };
}

/** Writes an address as `parseAddress` reads it. */
export function formatAddress({ vault, name, version }: Address): AddressText {
  return `${vault}/${name}${version === undefined ? '' : `@${version}`}`;
}

const PLACE = /^(?<vault>[a-z0-9][a-z0-9._-]{0,62})(?:\/(?<prefix>[A-Za-z0-9._/-]*))?$/;

/** Takes `payments` or `payments/db/` apart: a vault, and the text with which names begin. @throws CardeaError */
export function parsePlace(text: string): { vault: string; prefix?: string } {
  const { vault, prefix } = PLACE.exec(text)?.groups ?? {};
  if (vault === undefined) throw refused(`"${text}" is not a vault, or a vault and a prefix like payments/db/`);
  return { vault, ...(prefix === undefined || prefix === '' ? {} : { prefix }) };
}

/** Whether a name has a segment `.` or `..`. A parser of URLs would drop it, and the call would mean another secret. */
export function hasDots(name: string): boolean {
  return name.split('/').some((segment) => segment === '.' || segment === '..');
}
