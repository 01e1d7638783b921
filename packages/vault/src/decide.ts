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
  /** Covers the secret of this name and all below it. */
  pathPrefix?: string | undefined;
  /** Milliseconds since 1970; from then on it grants nothing. */
  expiresAt?: number | undefined;
}

export interface Question {
  role?: Role | undefined;
  granted: Granted | undefined;
  action: VaultAction;
  /** The secret's or key's name, where the action is about one. */
  name?: string | undefined;
  /** Where the request comes from; undefined leaves networks out of account. */
  ip?: string | undefined;
  /** Milliseconds since 1970. */
  now: number;
}

export interface Decision {
  allowed: boolean;
  /** Whether the one who asks may know that the vault, and this name in it, could be there. */
  visible: boolean;
  /** The rule that decided, for the audit log. */
  rule: AccessRule | 'default-deny';
}

// What an overseer sees without a value coming into view.
const metadataActions: ReadonlySet<VaultAction> = new Set(['vault.read', 'vault.events', 'secret.list', 'key.list']);

/**
 * The one decision about an action in a vault: default deny. A role is a rule like a grant, and it comes first: an
 * admin may do everything, a ceo sees metadata and does nothing, whatever else they were granted.
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
  if (granted.owner) return { allowed: true, visible: true, rule: 'grant:owner' };
  if (granted.secrets.length === 0 && granted.keys.length === 0) return hidden('grant:empty');
  if (name !== undefined && !covers(granted.pathPrefix, name)) return hidden('grant:path');
  return { allowed: grants(granted, action), visible: true, rule: `grant:${action}` };
}

function hidden(rule: AccessRule): Decision {
  return { allowed: false, visible: false, rule };
}

// Secrets and keys are granted independently: no verb of the one is ever one of the other.
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
