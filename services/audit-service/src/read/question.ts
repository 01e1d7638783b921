import { isAuditAction } from '@cardea/contracts/audit-actions';
import { AuditActor } from '@cardea/contracts/audit-event';
import type { InternalEntryQuery, RefusedQuestion } from '@cardea/contracts/audit-api';
import { suspiciousRules } from '@cardea/contracts/suspicious';
import type { Db } from '@cardea/storage/db';
import { ANY_RULE } from '../index/terms.ts';
import type { Facet } from '../index/terms.ts';
import { findPage } from './search.ts';

/** What is asked for: entries that have all facets, or why there is no answer. */
export type Question = { facets: Facet[] } | { refused: RefusedQuestion };

type Parameter = keyof InternalEntryQuery;

/** Ends the reading of a question that has no answer. It never leaves this file. */
class Refused extends Error {
  readonly question: RefusedQuestion;

  constructor(parameter: Parameter, message: string, unknown = false) {
    super(message);
    this.question = { parameter, message, unknown };
  }
}

/** Where a question looks: in the whole log, or for an owner in the entries of one vault. */
interface Scope {
  db: Db;
  inside: Facet[];
}

/**
 * Reads the filters of a query. An empty answer must mean that nothing happened. So a name that nothing in the log has,
 * an action that does not exist, and a name of two actors are refused. With `vaultId`, only the entries of this vault
 * decide, so that the answer tells nothing about the rest of the log.
 */
export async function readQuestion(db: Db, query: InternalEntryQuery, size: number): Promise<Question> {
  try {
    refuseMixture(query);
    refuseBeyond(query, size);
    const inside: Facet[] = query.vaultId === undefined ? [] : [['vaultId', query.vaultId]];
    return { facets: [...inside, ...(await facetsAsked({ db, inside }, query))] };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.question };
    throw error;
  }
}

function refuseMixture({ after, cursor, order, waitSeconds }: InternalEntryQuery): void {
  if (after === undefined && waitSeconds !== undefined) throw new Refused('waitSeconds', 'needs after');
  if (after === undefined) return;
  if (cursor !== undefined)
    throw new Refused('cursor', 'does not go with after: take nextAfter of the answer as after');
  if (order === 'newest') throw new Refused('order', 'does not go with after, which lists the oldest entries first');
}

function refuseBeyond({ seq, after }: InternalEntryQuery, size: number): void {
  const message = `the log has ${size} entries, numbered from 0`;
  if (seq !== undefined && seq >= size) throw new Refused('seq', message);
  if (after !== undefined && after >= size) throw new Refused('after', message);
}

async function facetsAsked(scope: Scope, query: InternalEntryQuery): Promise<Facet[]> {
  const { actor, action, vault, name, key, requestId, decision, suspicious } = query;
  const place = scope.inside.length > 0 ? 'vault' : 'log';
  const asked: (undefined | Promise<Facet>)[] = [
    vault === undefined ? undefined : findVault(scope, vault),
    actor === undefined ? undefined : findActor(scope, actor),
    action === undefined ? undefined : findAction(scope, action),
    name === undefined ? undefined : known(scope, 'name', ['name', name], `nothing in the ${place} has this name`),
    key === undefined ? undefined : known(scope, 'key', ['key', key], `no key in the ${place} has this name`),
    requestId === undefined ? undefined : Promise.resolve<Facet>(['requestId', requestId]),
    decision === undefined ? undefined : Promise.resolve<Facet>(['decision', decision]),
    suspicious === undefined ? undefined : findRule(scope, suspicious),
  ];
  return Promise.all(asked.filter((facet) => facet !== undefined));
}

async function findVault(scope: Scope, text: string): Promise<Facet> {
  const byId: Facet = ['vaultId', text];
  if (await isInLog(scope, byId)) return byId;
  return known(scope, 'vault', ['vault', text], 'no vault in the log has or had this name or id');
}

// Actions of other versions are in the log too.
async function findAction(scope: Scope, action: string): Promise<Facet> {
  const facet: Facet = ['action', action];
  return isAuditAction(action) ? facet : known(scope, 'action', facet, 'there is no such action');
}

async function findRule(scope: Scope, rule: string): Promise<Facet> {
  const facet: Facet = ['suspicious', rule];
  const isKnown = rule === ANY_RULE || Object.hasOwn(suspiciousRules, rule);
  return isKnown ? facet : known(scope, 'suspicious', facet, 'there is no such rule: any finds all of them');
}

const ACTOR = new RegExp(`^(${AuditActor.shape.type.options.join('|')}):(.+)$`, 's');

/** `user:alice`, `user:<id>`, or a name or id that only one type of actor has. */
async function findActor(scope: Scope, asked: string): Promise<Facet> {
  const [, type, text = asked] = ACTOR.exec(asked) ?? [];
  const types = type === undefined ? AuditActor.shape.type.options : [type];
  const found = await Promise.all(types.map((one) => findActorOf(scope, `${one}:${text}`)));
  const acted = found.filter((facet) => facet !== undefined);
  if (acted.length > 1) {
    const choices = acted.map(([, value]) => value).join(' or ');
    throw new Refused('actor', `several actors have this name: ask for ${choices}`);
  }
  const [only] = acted;
  if (only) return only;
  // An owner must not learn which accounts there are. Nothing in the vault is found by this.
  if (scope.inside.length > 0) return ['actorName', `${types[0]}:${text}`];
  // An account that did nothing is an answer too.
  for (const one of types)
    if (await isInLog(scope, ['account', `${one}:${text}`])) return ['actorName', `${one}:${text}`];
  throw new Refused('actor', 'the log knows no actor with this name or id', true);
}

// The id first: an account may have the id of another one as its name.
async function findActorOf(scope: Scope, value: string): Promise<Facet | undefined> {
  const facets: Facet[] = [
    ['actorId', value],
    ['actorName', value],
  ];
  for (const facet of facets) if (await isInLog(scope, facet)) return facet;
  return undefined;
}

async function known(scope: Scope, parameter: Parameter, facet: Facet, message: string): Promise<Facet> {
  if (await isInLog(scope, facet)) return facet;
  throw new Refused(parameter, message, true);
}

/** True too if many entries have the same term and none of them has been it so far: the page then says to go on. */
async function isInLog({ db, inside }: Scope, facet: Facet): Promise<boolean> {
  const part = { from: 0, to: Number.MAX_SAFE_INTEGER };
  const { items, next } = await findPage(db, { facets: [facet, ...inside], part, order: 'newest', limit: 1 });
  return items.length > 0 || next !== undefined;
}
