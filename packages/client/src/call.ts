import type { Endpoint } from '@cardea/contracts/endpoint';
import type { z } from 'zod';
import { hasDots } from './address.ts';
import { refused } from './errors.ts';

/** An endpoint as the client knows it: its types are those of the contract, and nothing of the contract is loaded. */
export interface Call<E extends Endpoint = Endpoint> {
  method: E['method'];
  path: string;
  /** Whether a second call changes nothing more, so that it may be repeated although the first may have been done. */
  repeats: boolean;
  /** Whether the answer is text. Otherwise it is JSON. */
  isText?: boolean;
  /** Only for the compiler. */
  endpoint?: E;
}

export type ParamsOf<E extends Endpoint> = z.output<E['params']>;
export type QueryOf<E extends Endpoint> = Partial<z.output<E['query']>>;
export type BodyOf<E extends Endpoint> = z.input<E['body']>;
export type AnswerOf<E extends Endpoint> = z.output<E['response']>;
/** An item of an answer that is a list. */
export type ItemOf<E extends Endpoint> = AnswerOf<E> extends { items: (infer Item)[] } ? Item : never;

/** Conditions of a request (RFC 9110 section 13), by the version of a secret. */
export interface Conditions {
  /** Only if this is the newest version. */
  ifMatch?: number | undefined;
  /** Only if there is no secret of this name. */
  ifNew?: boolean | undefined;
  /** For a read: only if this is not the newest version. */
  ifNot?: number | undefined;
}

/** What a call sends. */
export interface RequestOf<E extends Endpoint> {
  params?: ParamsOf<E>;
  query?: QueryOf<E>;
  body?: BodyOf<E>;
  conditions?: Conditions;
}

/** Describes an endpoint. By default only a POST does not repeat. */
export function call<E extends Endpoint>(method: E['method'], path: string, repeats = method !== 'POST'): Call<E> {
  return { method, path: `/api/v1${path}`, repeats };
}

/**
 * Fills the template of a path. Cardea never percent-encodes a path: a name that would need it, or that a parser of URLs
 * would change, is refused here and not sent.
 */
export function fillPath(path: string, params: Record<string, unknown> = {}): string {
  return path.replace(/\{[+*]?(\w+)\}/g, (_token, param: string) => {
    const value = params[param];
    if (typeof value === 'number') return String(value);
    if (typeof value !== 'string') throw refused(`the ${param} is missing`);
    if (!/^[A-Za-z0-9._:-]+(?:\/[A-Za-z0-9._-]+)*$/.test(value) || hasDots(value)) {
      throw refused(`"${value}" cannot be a ${param}`);
    }
    return value;
  });
}

/** The query of a URL with its `?`, or nothing. */
export function toSearch(query: Record<string, unknown> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** The header fields of conditions. */
export function toHeaders({ ifMatch, ifNew, ifNot }: Conditions = {}): Record<string, string> {
  return {
    ...(ifMatch === undefined ? {} : { 'If-Match': `"${ifMatch}"` }),
    ...(ifNew === true ? { 'If-None-Match': '*' } : {}),
    ...(ifNot === undefined ? {} : { 'If-None-Match': `"${ifNot}"` }),
  };
}
