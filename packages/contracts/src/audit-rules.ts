import type { Role } from './caller.ts';
import type { VaultAction } from './grants.ts';

/**
 * Every rule that an audit record may name as the one that decided, beside those of `AccessRule`, and what it says. The
 * log cannot be edited: a rule has one spelling, and keeps it.
 */
export const auditRules = {
  // Who may.
  'default-deny': 'Nothing allows it.',
  'break-glass': 'Oversight read a value, and said why.',
  'client-credentials': 'An application showed its secret.',
  password: 'A user gave the password.',
  'password+recovery': 'A user gave the password and a recovery code.',
  'password+totp': 'A user gave the password and a code.',
  'refresh-token': 'A refresh token was used.',
  'refresh-repeat': 'The same client used a refresh token again, within 10 s.',
  self: 'Everybody may, for what is their own.',
  'self+recovery': 'The same, with a recovery code.',
  'self+totp': 'The same, with a code.',

  // What made Cardea act by itself.
  daily: 'A day is over.',
  expiry: 'The time of an expiry has come.',
  first: 'There was none.',
  'max-versions': 'More versions than are kept.',
  replaced: 'Another one has taken its place.',
  'trash-retention': 'It has lain in the trash for as long as the trash is kept.',

  // Who is refused because of what they showed.
  'application-disabled': 'The application is disabled.',
  'application-expired': 'The application has expired.',
  'application-network': 'The application may not come from this address.',
  'bad-password': 'The password is wrong.',
  'credential-expired': 'The secret of an application has expired.',
  'credential-malformed': 'The secret of an application does not have the form of one.',
  'credential-unknown': 'The secret of an application is none that we made.',
  'credential-withdrawn': 'The secret that gave this token was withdrawn.',
  'must-change-password': 'A one-time password lets nobody do anything but choose another.',
  'no-credential': 'No secret of an application was sent.',
  'no-token': 'No bearer token was sent.',
  'one-time-password-used': 'The one-time password was used before.',
  'otp-missing': 'A code is required.',
  'otp-used': 'The code was used before.',
  'otp-wrong': 'The code is wrong.',
  'password-changed': 'The password was changed while it was being checked.',
  'password-rules': 'The new password is too weak.',
  'recovery-code-unknown': 'The recovery code is none of the user, or was used before.',
  'refresh-reuse': 'The refresh token was used before: it or its successor is in the wrong hands.',
  'refresh-unknown': 'The refresh token is none that we made.',
  'session-ended': 'The session was ended.',
  'session-expired': 'The session has expired.',
  'token-expired': 'The token has expired.',
  'token-forged': 'The signature, the issuer, the audience or the claims of the token are wrong.',
  'token-malformed': 'The token does not have the form of one, or there are two.',
  'token-too-long': 'The token is longer than any we make.',
  'token-unknown-key': 'The token names a key that we do not know.',
  'totp-changed': 'TOTP was changed by another request just now.',
  'totp-off': 'TOTP is not on.',
  'totp-on': 'TOTP is on.',
  'user-disabled': 'The user is disabled.',
  'user-expired': 'The user has expired.',
  'users-only': 'Only a user has this.',

  // What is refused because of what is there, or is not.
  'bulk-size': 'More than one request may change.',
  destroyed: 'The version was destroyed.',
  expired: 'The version has expired.',
  'if-match': 'If-Match does not hold.',
  'if-none-match': 'If-None-Match does not hold.',
  'last-admin': 'One admin must be left.',
  'last-owner': 'A vault keeps at least one owner.',
  'name-taken': 'Another secret has the name.',
  'no-such-application': 'There is no such application.',
  'no-such-credential': 'There is no such credential of the application.',
  'no-such-grant': 'Nothing was granted to them in this vault.',
  'no-such-principal': 'There is no such user or application.',
  'no-such-secret': 'There is no such secret.',
  'no-such-session': 'The user has no such session.',
  'no-such-user': 'There is no such user.',
  'no-such-vault': 'There is no such vault.',
  'no-such-version': 'The secret has no such version.',
  'not-an-owner': 'They cannot own a vault.',
  'not-empty': 'The vault holds secrets.',
  'not-in-trash': 'Nothing of this name is in the trash.',
  'own-account': 'Nobody removes or demotes themself.',
  'owns-alone': 'A vault would be left without an owner.',
  'reference-circle': 'The reference leads back to itself.',
  'reference-depth': 'The reference leads over too many others.',
  'role-decides': 'The role alone decides what they may do.',

  // Too much, too often.
  'denial-watch': 'They were refused too often in a minute.',
  'rate-limit': 'They asked too often.',
  'sign-in-throttle': 'Too many sign-ins have failed.',
  'unwrap-rate': 'Too many DEKs were unwrapped in a second.',

  // Damage, and what services do to each other.
  'dek-context': 'A wrapped DEK is not the one that it is said to be.',
  'foreign-action': 'A service submitted an event of an action that is not its own.',
  integrity: 'Something stored does not open.',
  'missing-dek': 'A DEK is not there.',
  'missing-kek': 'A DEK names a KEK that was destroyed or never existed.',
  'record-waits': 'The change is made, and its record waits for the log.',
  'unknown-action': 'A service submitted an event of an action that this audit-service does not know.',
} as const;

/** How a role or a grant decides: `role:admin`, `grant:secret.read`, or what it is in a grant that refuses. */
export type AccessRule =
  | `role:${Role}`
  | `grant:${VaultAction}`
  | 'grant:any'
  | 'grant:empty'
  | 'grant:expired'
  | 'grant:network'
  | 'grant:owner'
  | 'grant:path';

declare const joined: unique symbol;
/** Several access rules, each once, joined by `, `: what takes several rights names the rule that gave each. */
export type JoinedRules = string & { readonly [joined]: true };

export type AuditRule = keyof typeof auditRules | AccessRule | JoinedRules;

/** The rule of what takes several rights at once: `grant:secret.delete, grant:secret.list`. */
export function joinRules(rules: AuditRule[]): AuditRule {
  const each = new Set(rules.flatMap((rule) => rule.split(', ')));
  return [...each].join(', ') as JoinedRules;
}
