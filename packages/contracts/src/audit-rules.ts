import type { Role } from './caller.ts';
import type { VaultAction } from './grants.ts';

/**
 * The rules that an audit record may name as the reason of a decision, with their meanings. `AccessRule` has the
 * others. The log cannot be edited, so a rule never changes its name.
 */
export const auditRules = {
  // Why a caller may do something, or may not.
  'default-deny': 'No role and no grant allows it.',
  'role-changed': 'The role of the caller changed while the request was under way.',
  'break-glass': 'A ceo used break-glass and gave a reason.',
  'client-credentials': 'An application gave its client secret.',
  password: 'A user gave the password.',
  'password+recovery': 'A user gave the password and a recovery code.',
  'password+totp': 'A user gave the password and a code.',
  'refresh-token': 'A client used a refresh token.',
  'refresh-repeat': 'The same client used a refresh token again within 10 s.',
  'rotation-open': 'A webhook started nothing, because a KEK rotation is open or started a short time ago.',
  'signed-in': 'Every caller who has signed in may do this.',
  self: 'Callers may do this with what is their own.',
  'self+recovery': 'The same, with a recovery code.',
  'self+totp': 'The same, with a code.',
  'webhook-repeat': 'A signed webhook was received before, and started nothing again.',
  'webhook-signed': 'A secret of the webhook signed the request.',

  // Why Cardea acted by itself.
  daily: 'This happens once a day.',
  expiry: 'A time limit was reached.',
  first: 'None existed yet.',
  'key-pending-over': 'Nobody has restored a deleted key in time.',
  'key-rotation-due': 'The period of the key is over, or its newest version has encrypted very many messages.',
  'max-versions': 'There were more versions than the limit.',
  rotation: 'A rotation of keys is under way.',
  'rotation-schedule': 'A rotation of keys was due.',
  replaced: 'A newer one replaced it.',
  'delivery-abandoned': 'The receiver took the webhook in no attempt within a day, or is no longer configured.',
  'delivery-refused': 'The receiver answered that it wants no more webhooks (410).',
  event: 'A receiver of webhooks wants to know of an event.',
  'offline-recovery': 'An operator made the user an admin again, with a command on the server.',
  'new-log': 'An operator began a new audit log, because the one before could not go on.',
  restored: 'An operator brought a backup back. What was written after it is lost.',
  'trash-retention': 'It was in the trash for the full retention time.',

  // Why credentials were refused.
  'application-disabled': 'The application is disabled.',
  'application-expired': 'The application has expired.',
  'application-network': 'The application may not be used from this address.',
  'bad-password': 'The password is wrong.',
  'credential-expired': 'The client secret has expired.',
  'credential-malformed': 'The client secret is malformed.',
  'credential-unknown': 'Cardea did not make this client secret.',
  'credential-withdrawn': 'The client secret that gave this token was withdrawn.',
  'must-change-password': 'The user signed in with a one-time password and must choose another first.',
  'no-credential': 'No client secret was sent.',
  'no-webhook-secret': 'The webhook has no secret yet.',
  'no-token': 'No bearer token was sent.',
  'one-time-password-used': 'The one-time password was used before.',
  'otp-missing': 'A code is required.',
  'otp-used': 'The code was used before.',
  'otp-wrong': 'The code is wrong.',
  'password-changed': 'The password was changed while it was being checked.',
  'password-rules': 'The new password is too weak.',
  'recovery-code-unknown': 'The user has no such recovery code, or has used it.',
  'refresh-reuse': 'The refresh token was used before: somebody has stolen it or its successor.',
  'refresh-unknown': 'Cardea did not make this refresh token.',
  'session-ended': 'The session has ended.',
  'session-expired': 'The session has expired.',
  'token-expired': 'The token has expired.',
  'token-forged': 'The signature, issuer, audience or claims of the token are wrong.',
  'token-malformed': 'The token is malformed, or the request has two.',
  'token-too-long': 'The token is longer than any that Cardea makes.',
  'token-unknown-key': 'The key that the token names does not exist, or is no longer valid.',
  'totp-off': 'TOTP is not on.',
  'totp-on': 'TOTP is on.',
  'user-disabled': 'The user is disabled.',
  'user-expired': 'The user has expired.',
  'webhook-forged': 'No secret of the webhook has made the signature.',
  'webhook-malformed': 'The webhook has no signature, or a malformed one.',
  'webhook-time': 'The signature is right, but the timestamp is more than 5 minutes away.',
  'users-only': 'Only users can do this.',

  // Why a request does not fit the data.
  'bulk-size': 'It is more than one request may change.',
  'records-missing': 'The log has not taken all records of the call, so nothing was shown.',
  'client-gone': 'The client had gone before the answer was sent, so nothing was shown.',
  'bulk-turns': 'Too many calls that read or change many secrets are under way.',
  destroyed: 'The version was destroyed.',
  expired: 'The version has expired.',
  'if-match': 'The condition If-Match is not met.',
  'if-none-match': 'The condition If-None-Match is not met.',
  'import-key': 'The wrapped bytes are no key of the algorithm.',
  'import-token-expired': 'The wrapping key of the import has expired.',
  'import-token-unknown': 'Cardea did not make the import token, or made it for another vault or another caller.',
  'import-token-used': 'The wrapping key of the import was used before.',
  'import-unwrap': 'The key was not wrapped for this import.',
  'jws-header': 'The header of the JWS does not fit the key.',
  'key-algorithm': 'Keys of this algorithm cannot do this.',
  'key-bounds': 'The versions that a key may use do not fit together.',
  'key-context': 'The key derives others and needs a context, or takes none.',
  'key-deleted': 'The key was deleted, and does nothing unless it is restored.',
  'key-name-taken': 'Another key of the vault has this name.',
  'key-not-exportable': 'The key was not made exportable.',
  'key-newest': 'The newest version of a key cannot be destroyed.',
  'key-not-deleted': 'The key was not deleted.',
  'key-peer': 'The public key of the peer does not fit the key.',
  'key-public-only': 'The key holds public keys only.',
  'key-protected': 'A key that is protected cannot be deleted.',
  'key-version-destroyed': 'The version of the key was destroyed.',
  'key-version-disabled': 'The version of the key is disabled.',
  'key-version-full': 'The version of the key has encrypted as many messages as one key may.',
  'key-version-retired': 'The version of the key is older than the key allows.',
  'wrapping-key': 'The public key that an export is wrapped to is no RSA key, or too small.',
  'key-versions-max': 'The key has as many versions as one may have.',
  'kek-in-use': 'The KEK wraps DEKs, or is the newest.',
  'last-admin': 'At least one admin must be left.',
  'last-owner': 'A vault must have at least one owner.',
  'last-seal': 'The keyring must keep a seal that has opened it since kek-service started.',
  'webhook-secrets-max': 'The webhook has two secrets already.',
  'name-taken': 'Another secret has this name.',
  'no-such-application': 'The application does not exist.',
  'no-such-credential': 'The application has no such credential.',
  'no-such-delivery': 'The delivery of a webhook does not exist.',
  'not-frozen': 'The unwraps of this service are not frozen.',
  'seal-exists': 'The keyring has this seal, or can have no other seal of its type.',
  'token-unusable': 'The token cannot be used for a seal.',
  'no-such-grant': 'The principal has no grant in this vault.',
  'no-such-kek': 'The KEK does not exist.',
  'no-such-key': 'The key does not exist.',
  'no-such-key-version': 'The key has no such version.',
  'no-such-principal': 'The user or application does not exist.',
  'no-such-rotation': 'The rotation does not exist.',
  'no-such-seal': 'The keyring has no such seal.',
  'no-such-secret': 'The secret does not exist.',
  'no-such-session': 'The user has no such session.',
  'no-such-user': 'The user does not exist.',
  'no-such-vault': 'The vault does not exist.',
  'no-such-webhook-secret': 'The secret of the webhook does not exist.',
  'no-such-version': 'The secret has no such version.',
  'not-an-owner': 'This principal cannot own a vault.',
  'not-authentic': 'The ciphertext was not made by this key with this associated data.',
  'not-dead': 'Only a dead delivery can be sent again.',
  'not-empty': 'The vault holds secrets or keys.',
  'not-in-trash': 'The trash has no secret with this name.',
  'own-account': 'Admins cannot delete, disable, demote or expire themselves, or reset their own password.',
  'owns-alone': 'The user is the only owner of a vault.',
  'reference-circle': 'The reference leads back to itself.',
  'reference-depth': 'The chain of references is too long.',
  'reference-target': 'Another secret than that of the reference has the name of its target now.',
  'rotation-state': 'The rotation is in another state.',
  quota: 'A user has made as many vaults, or a vault has as many secrets, as they may.',
  'role-decides': 'Only the role decides what this user may do.',

  // Limits.
  'counted-together': 'Requests of strangers were refused for several reasons. The reason is that of the last one.',
  'denial-watch': 'The caller was refused too often in a minute.',
  'rate-limit': 'There were too many requests.',
  'sign-in-throttle': 'Too many sign-ins have failed.',
  'under-way': 'The caller, or all callers together, have too much under way: requests, bytes, exports, connections.',
  'slow-work': 'Too much slow work, such as RSA, waits already.',
  'unwrap-budget': 'The DEKs of more vaults, or more DEKs, were unwrapped in a minute than the budget allows.',
  'unfreeze-wait': 'The unwraps of this service were unfrozen less than an hour ago.',
  'unwrap-rate': 'Too many DEKs were unwrapped in a second.',

  // Damage, and errors between services.
  'dek-context': 'A wrapped DEK does not belong to the vault and version in the request.',
  'foreign-action': 'A service submitted an action that it may not submit.',
  'foreign-actor': 'A service submitted an event of an actor who cannot call it.',
  integrity: 'A stored value does not open.',
  'missing-dek': 'A DEK does not exist.',
  'missing-kek': 'A DEK names a KEK that was destroyed or never existed.',
  'broken-off': 'An answer ended before it was complete. Its reader has a part of it.',
  'disk-full': 'A disk had no room.',
  'record-waits': 'The change is made. Its record waits until the audit log answers.',
  'unknown-action': 'A service submitted an action that this version of audit-service does not know.',
} as const;

/** The rule of a role or a grant: `role:admin`, `grant:secret.read`, or the part of a grant that refuses. */
export type AccessRule =
  | `role:${Role}`
  | `grant:${VaultAction}`
  | 'grant:any'
  | 'grant:empty'
  | 'grant:expired'
  | 'grant:key-prefix'
  | 'grant:network'
  | 'grant:owner'
  | 'grant:path';

declare const joined: unique symbol;
/** Several access rules, each once, joined by `, `: one for each right that the action needs. */
export type JoinedRules = string & { readonly [joined]: true };

export type AuditRule = keyof typeof auditRules | AccessRule | JoinedRules;

/** Joins the rules of an action that needs several rights: `grant:secret.delete, grant:secret.list`. */
export function joinRules(rules: AuditRule[]): AuditRule {
  if (rules.length === 1) return rules[0]!;
  const each = new Set(rules.flatMap((rule) => rule.split(', ')));
  return [...each].join(', ') as JoinedRules;
}
