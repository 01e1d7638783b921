import type { AccessRule } from '@cardea/contracts/audit-rules';
import type { Role } from '@cardea/contracts/caller';
import { isInside } from '@cardea/contracts/cidr';
import type { KeyVerb, SecretVerb, VaultAction } from '@cardea/contracts/grants';

/** What one principal was granted in one vault. */
export interface Granted {
  owner: boolean;
  secrets: readonly SecretVerb[];
  keys: readonly KeyVerb[];
  allowedCidrs: readonly string[];
  /** Covers the secret with this name and all names under it. Says nothing about keys. */
  pathPrefix?: string | undefined;
  /** Covers the keys whose names begin so. Says nothing about secrets. */
  keyPrefix?: string | undefined;
  /** Milliseconds since 1970. From then on the grant gives nothing. */
  expiresAt?: number | undefined;
}

export interface Question {
  role?: Role | undefined;
  granted: Granted | undefined;
  action: VaultAction;
  /** The name of the secret or key, if the action is about one. */
  name?: string | undefined;
  /** The address the request comes from. If it is undefined, networks are not checked. */
  ip?: string | undefined;
  /** Milliseconds since 1970. */
  now: number;
}

export interface Decision {
  allowed: boolean;
  /** Whether the caller may learn that the vault exists, and that this name may exist in it. */
  visible: boolean;
  /** The rule that decided, for the audit log. */
  rule: AccessRule | 'default-deny';
}

// What a ceo may do for oversight. None of these actions shows a value.
const metadataActions: ReadonlySet<VaultAction> = new Set([
  'vault.read',
  'vault.events',
  'vault.audit',
  'secret.list',
  'key.list',
]);

/**
 * Decides about an action in a vault; nothing else does. The default is to deny. The role is checked before the grant:
 * an admin may do everything, and a ceo sees metadata and changes nothing, whatever they were granted.
 */
export function decide(question: Question): Decision {
  const { role, granted, action } = question;
  if (role === 'admin') return { allowed: true, visible: true, rule: 'role:admin' };
  if (role === 'ceo') return { allowed: metadataActions.has(action), visible: true, rule: 'role:ceo' };
  if (!granted) return { allowed: false, visible: false, rule: 'default-deny' };
  return decideByGrant(question, granted);
}

function decideByGrant({ action, name, ip, now }: Question, granted: Granted): Decision {
  if (granted.expiresAt !== undefined && granted.expiresAt <= now) return hidden('grant:expired');
  if (ip !== undefined && !isInside(ip, granted.allowedCidrs)) return hidden('grant:network');
  if (granted.owner) return { allowed: mayOwnerDo(action, granted), visible: true, rule: 'grant:owner' };
  if (granted.secrets.length === 0 && granted.keys.length === 0) return hidden('grant:empty');
  const isAboutKey = action.startsWith('key.');
  if (name !== undefined && isAboutKey && !name.startsWith(granted.keyPrefix ?? '')) return hidden('grant:key-prefix');
  if (name !== undefined && !isAboutKey && !covers(granted.pathPrefix, name)) return hidden('grant:path');
  return { allowed: grants(granted, action), visible: true, rule: `grant:${action}` };
}

// An owner with limits was made by an earlier version. It must not lift them, or grant others what it does not have.
function mayOwnerDo(action: VaultAction, granted: Granted): boolean {
  return action !== 'vault.manage' || isUnlimited(granted);
}

/** Whether a grant holds for every name, from everywhere and forever. */
export function isUnlimited({ pathPrefix, keyPrefix, allowedCidrs, expiresAt }: Granted): boolean {
  return pathPrefix === undefined && keyPrefix === undefined && allowedCidrs.length === 0 && expiresAt === undefined;
}

function hidden(rule: AccessRule): Decision {
  return { allowed: false, visible: false, rule };
}

// Secrets and keys are granted independently: a verb for secrets never gives a right on keys, and the other way round.
function grants(granted: Granted, action: VaultAction): boolean {
  if (action === 'vault.read') return true;
  const [kind, verb] = action.split('.');
  if (kind === 'secret') return granted.secrets.includes(verb as SecretVerb);
  return kind === 'key' && granted.keys.includes(verb as KeyVerb);
}

/** `apps/ci` covers `apps/ci` and `apps/ci/token`, not `apps/ci2`. */
export function covers(pathPrefix: string | undefined, name: string): boolean {
  return pathPrefix === undefined || name === pathPrefix || name.startsWith(`${pathPrefix}/`);
}
