import type { AuditResource } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { refusalFacts } from '@cardea/contracts/refusal';
import type { Refusal } from '@cardea/contracts/refusal';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { VaultContext } from './context.ts';
import { eventOf } from './record.ts';
import { askedResource, principalResource } from './resource.ts';

type Recorder = Pick<VaultContext, 'audit' | 'now'>;

/** Records that a request was refused, at any layer and for any reason. Resolves once the record is durable. */
export async function recordRefusal(ctx: Recorder, refusal: Refusal): Promise<void> {
  await append(ctx, refusal, resourceOf(refusal));
}

/** Records how many more requests were refused in the same way. `refusal` is the last of them. */
export async function recordRefusals(ctx: Recorder, refusal: Refusal, count: number): Promise<void> {
  await append(ctx, refusal, { count });
}

/** Records that a caller was refused too often and that its requests are dropped from now on. */
export async function recordDrop(ctx: Recorder, caller: Caller, suspicious: SuspiciousRule): Promise<void> {
  const drop = { action: 'caller.drop', decision: 'deny', reason: 'rate_limited', rule: 'denial-watch' } as const;
  await ctx.audit.append(eventOf(ctx, caller, { ...drop, suspicious }));
}

async function append(ctx: Recorder, refusal: Refusal, resource: AuditResource): Promise<void> {
  const { caller, error } = refusal;
  const about = Object.keys(resource).length > 0 ? resource : undefined;
  const known = error.actor ? { ...caller, actor: error.actor } : caller;
  await ctx.audit.append(eventOf(ctx, known, { ...refusalFacts(refusal), resource: about }));
}

// Names only what the well-formed request says. Nothing has checked that the resource exists.
function resourceOf({ action, params, body, error }: Refusal): AuditResource {
  const { vault, name, username, principal, id } = params;
  const noun = action.split('.')[0] ?? '';
  const named = namedByApplication.has(noun) ? { application: name, name: id } : { name: name ?? id };
  return {
    ...present({ vault, user: username, ...named, ...(principal ? principalResource(principal) : {}) }),
    ...(body === undefined ? {} : namedInBody.get(action)?.(body as Record<string, string>)),
    ...error.resource,
  };
}

const namedByApplication: ReadonlySet<string> = new Set(['application', 'credential']);

// Lists the body fields that a record may show. Sign-in is left out: a user may type a password into the wrong field.
const namedInBody: ReadonlyMap<string, (body: Record<string, string>) => AuditResource> = new Map([
  ['vault.create', ({ name }) => present({ vault: name })],
  ['user.create', ({ username }) => present({ user: username })],
  ['secret.delete', ({ prefix }) => present({ name: prefix })],
  ['secret.import', ({ prefix }) => present({ name: prefix })],
  ['secret.export', ({ prefix }) => present({ name: prefix })],
  [
    'secret.move',
    ({ prefix, vault, name, toPrefix }) => present({ name: prefix, toVault: vault, toName: name ?? toPrefix }),
  ],
  ['rotation.start', ({ vault }) => present({ vault })],
  ['application.create', ({ name }) => present({ application: name })],
  [
    'access.explain',
    ({ vault = '', principal = '', action = '', name }) => askedResource({ vault, principal, action, name }),
  ],
]);

// Cuts a text to the length that a record takes, and leaves out missing parameters.
function present(fields: Record<string, string | undefined>): AuditResource {
  const given = Object.entries(fields).flatMap(([field, text]) => (text ? [[field, text.slice(0, 512)]] : []));
  return Object.fromEntries(given) as AuditResource;
}
