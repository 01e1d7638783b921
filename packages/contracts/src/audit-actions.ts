import type { AuditActor, AuditEvent } from './audit-event.ts';

/** The services that may submit events, by the names in their certificates, and the audit log itself. */
export type AuditPeer = 'api-service' | 'worker' | 'kek-service' | 'audit-service';

// The service that answers a request records disclosures and refusals. The record of a change is in the outbox of the
// database, and either api-service or a worker sends it. So is the record that nothing was shown, because the log did not
// answer in time: see `maySubmit`.
const shown: readonly AuditPeer[] = ['api-service'];
const changed: readonly AuditPeer[] = ['api-service', 'worker'];
const keyService: readonly AuditPeer[] = ['kek-service'];
// kek-service records what happened to a KEK. The vault records the caller that asked for it.
const keks: readonly AuditPeer[] = ['api-service', 'worker', 'kek-service'];
// kek-service records what became of its seals, and api-service which admin asked for it.
const seals: readonly AuditPeer[] = ['api-service', 'kek-service'];
const log: readonly AuditPeer[] = ['audit-service'];

/**
 * Every action of the audit log, as noun.verb, with the services that may submit it. An action stays in this list as
 * long as an older version that submits it may run, or may have left it in an outbox.
 */
export const auditActions = {
  'access.explain': shown,
  'application.change': changed,
  'application.create': changed,
  'application.delete': changed,
  'application.expire': changed,
  'application.expiring': changed,
  'application.list': shown,
  'application.read': shown,
  'audit.append': log,
  'audit.begin': log,
  'audit.conflict': log,
  'audit.export': ['api-service', 'audit-service'],
  'audit.read': ['api-service', 'audit-service'],
  'audit.restore': log,
  'auth.login': changed,
  'auth.logout': changed,
  'auth.me': shown,
  'auth.password': changed,
  'auth.refresh': changed,
  'auth.token': changed,
  'auth.totpConfirm': changed,
  'auth.totpDisable': changed,
  'auth.totpRemove': changed,
  'auth.totpSetUp': changed,
  'caller.drop': shown,
  'credential.create': changed,
  'credential.delete': changed,
  'credential.expire': changed,
  'credential.expiring': changed,
  'credential.list': shown,
  'dek.create': changed,
  'dek.destroy': changed,
  'dek.reseal': changed,
  'dek.rewrap': keks,
  'dek.rotate': changed,
  'dek.unwrap': keyService,
  'dek.wrap': keyService,
  'event.list': shown,
  'grant.delete': changed,
  'grant.expire': changed,
  'grant.expiring': changed,
  'grant.list': shown,
  'grant.read': shown,
  'grant.write': changed,
  'health.read': shown,
  'kek.destroy': keks,
  'kek.list': seals,
  'kek.rotate': keks,
  'key.change': changed,
  'key.changeVersion': changed,
  'key.create': changed,
  'key.decapsulate': shown,
  'key.decrypt': shown,
  'key.delete': changed,
  'key.deriveSharedSecret': shown,
  'key.destroy': changed,
  'key.encapsulate': shown,
  'key.encrypt': shown,
  'key.export': shown,
  'key.generateDataKey': shown,
  'key.generateDataKeyWithoutPlaintext': shown,
  'key.import': changed,
  'key.importJob': changed,
  'key.jwks': shown,
  'key.list': shown,
  'key.mac': shown,
  'key.read': shown,
  'key.restore': changed,
  'key.rewrap': shown,
  'key.rotate': changed,
  'key.sign': shown,
  'key.signJws': shown,
  'key.verify': shown,
  'key.verifyJws': shown,
  'key.verifyMac': shown,
  'key.versions': shown,
  'keyring.replace': keyService,
  'openapi.read': shown,
  'random.generate': shown,
  'request.refuse': ['api-service', 'kek-service', 'audit-service'],
  'rotation.cancel': changed,
  'rotation.finish': changed,
  'rotation.list': shown,
  'rotation.pause': changed,
  'rotation.read': shown,
  'rotation.resume': changed,
  'rotation.start': changed,
  'seal.add': seals,
  'seal.close': keyService,
  'seal.follow': keyService,
  'seal.list': seals,
  'seal.open': keyService,
  'seal.prove': keyService,
  'seal.read': keyService,
  'seal.remove': seals,
  'secret.breakGlass': changed,
  'secret.delete': changed,
  'secret.destroy': changed,
  'secret.expire': changed,
  'secret.expiring': changed,
  'secret.export': shown,
  'secret.generate': changed,
  'secret.import': changed,
  'secret.list': shown,
  'secret.move': changed,
  'secret.purge': changed,
  'secret.read': shown,
  'secret.restore': changed,
  'secret.rollback': changed,
  'secret.search': shown,
  'secret.update': changed,
  'secret.versions': shown,
  'secret.write': changed,
  'session.end': changed,
  'session.list': shown,
  'signingKey.create': changed,
  'signingKey.delete': changed,
  'sink.add': log,
  'sink.change': log,
  'sink.remove': log,
  'status.read': shown,
  'unwrap.freeze': keyService,
  'unwrap.unfreeze': seals,
  'user.change': changed,
  'user.create': changed,
  'user.delete': changed,
  'user.expire': changed,
  'user.expiring': changed,
  'user.list': shown,
  'user.read': shown,
  'user.recover': changed,
  'user.resetPassword': changed,
  'user.revokeSessions': changed,
  'user.unlock': changed,
  'vault.change': changed,
  'vault.create': changed,
  'vault.delete': changed,
  'vault.handOver': changed,
  'vault.list': shown,
  'vault.read': shown,
  'webhook.deliver': changed,
  'webhook.follow': shown,
  'webhook.giveUp': changed,
  'webhook.list': shown,
  'webhook.receive': changed,
  'webhook.retry': changed,
  'webhookSecret.create': changed,
  'webhookSecret.delete': changed,
  'webhookSecret.list': shown,
} as const satisfies Record<`${string}.${string}`, readonly AuditPeer[]>;

export type AuditAction = keyof typeof auditActions;

/**
 * The actions that change fields. Their records have each changed field with its old and its new value (I10), and do not
 * compile without. What other actions change, their names and their resources say.
 */
export const fieldChanges = [
  'application.change',
  'application.create',
  'application.delete',
  'application.expire',
  'audit.begin',
  'audit.restore',
  'auth.password',
  'auth.totpConfirm',
  'auth.totpDisable',
  'credential.create',
  'credential.delete',
  'grant.delete',
  'grant.expire',
  'grant.write',
  'kek.destroy',
  'key.change',
  'key.changeVersion',
  'key.create',
  'key.delete',
  'key.destroy',
  'key.import',
  'key.restore',
  'rotation.cancel',
  'rotation.finish',
  'rotation.pause',
  'rotation.resume',
  'rotation.start',
  'seal.add',
  'seal.remove',
  'secret.update',
  'sink.add',
  'sink.change',
  'sink.remove',
  'unwrap.unfreeze',
  'user.change',
  'user.create',
  'user.delete',
  'user.expire',
  'user.recover',
  'user.resetPassword',
  'user.unlock',
  'vault.change',
  'vault.create',
  'vault.delete',
  'vault.handOver',
  'webhook.giveUp',
  'webhook.retry',
  'webhookSecret.create',
  'webhookSecret.delete',
] as const satisfies readonly AuditAction[];

export type FieldChange = (typeof fieldChanges)[number];

/** Whether an action only shows something. Its record says `allow` only if the answer was sent. */
export function onlyShows(action: AuditAction): boolean {
  const by: readonly AuditPeer[] = auditActions[action];
  return by === shown || action === 'audit.read' || action === 'audit.export';
}

/** What decides who may submit an event. */
export type SubmittedEvent = Pick<AuditEvent, 'action' | 'decision' | 'rule'>;

/**
 * Whether a service may submit an event. No service may submit an action that this version does not know. Of what is
 * shown, a worker submits only that it was not, which api-service has left in the outbox.
 */
export function maySubmit(peer: string, { action, decision, rule }: SubmittedEvent): boolean {
  if (!isAuditAction(action)) return false;
  if ((auditActions[action] as readonly string[]).includes(peer)) return true;
  const saysNotShown = decision === 'deny' && rule === 'records-missing';
  return peer === 'worker' && saysNotShown && maySubmit('api-service', { action, decision });
}

/**
 * Whether a service may submit events of an actor of this type. No user and no application calls kek-service: what an
 * admin asked of it, api-service records.
 */
export function mayActFor(peer: string, actorType: AuditActor['type']): boolean {
  return peer !== 'kek-service' || actorType === 'service' || actorType === 'anonymous';
}

export function isAuditAction(action: string): action is AuditAction {
  return Object.hasOwn(auditActions, action);
}
