import type { Endpoint } from '@cardea/contracts/endpoint';
import { AuditEntry } from '@cardea/contracts/audit-api';
import { VaultEvent } from '@cardea/contracts/events';
import { Grant, GrantInput } from '@cardea/contracts/grants';
import { Application, changeApplication, listCredentials } from '@cardea/contracts/identity/applications';
import { TokenPair, listSessions } from '@cardea/contracts/identity/auth';
import { User, changeUser } from '@cardea/contracts/identity/users';
import { Key, KeyVersion } from '@cardea/contracts/keys/key-shapes';
import { changeKey, changeKeyVersion } from '@cardea/contracts/keys/keys';
import { listRotations } from '@cardea/contracts/rotation';
import { Seal } from '@cardea/contracts/seal-api';
import { PutOutcome, SecretSummary, SecretValue } from '@cardea/contracts/secrets/secret-shapes';
import { searchSecrets } from '@cardea/contracts/secrets/listing';
import { listVersions, patchSecret, putSecret } from '@cardea/contracts/secrets/secrets';
import { Status } from '@cardea/contracts/status';
import { Vault, changeVault } from '@cardea/contracts/vaults';
import { listDeliveries } from '@cardea/contracts/webhooks/deliveries';
import type { z } from 'zod';

/** The shapes of openapi.json that have a name: what clients keep, and hand on. */
export const openApiSchemas: Record<string, z.ZodType> = {
  Application,
  ApplicationChange: changeApplication.body,
  AuditEntry,
  Credential: itemOf(listCredentials),
  Event: VaultEvent,
  ...eventsByKind(),
  FoundSecret: itemOf(searchSecrets),
  Grant,
  GrantInput,
  Key,
  KeyChange: changeKey.body,
  KeyVersion,
  KeyVersionChange: changeKeyVersion.body,
  Rotation: itemOf(listRotations),
  Seal,
  Secret: SecretValue,
  SecretChange: patchSecret.body,
  SecretInput: putSecret.body,
  SecretSummary,
  SecretVersion: itemOf(listVersions),
  SecretWritten: PutOutcome,
  Session: itemOf(listSessions),
  Status,
  TokenPair,
  User,
  UserChange: changeUser.body,
  Vault,
  VaultChange: changeVault.body,
  WebhookDelivery: itemOf(listDeliveries),
};

/** `secret.expiring` as `SecretExpiringEvent`. */
function eventsByKind(): Record<string, z.ZodType> {
  const named = VaultEvent.options.map((event) => {
    const words = [...event.shape.kind.values].join().split('.');
    return [`${words.map((word) => `${word[0]!.toUpperCase()}${word.slice(1)}`).join('')}Event`, event] as const;
  });
  return Object.fromEntries(named);
}

function itemOf({ response }: { response: z.ZodObject<{ items: z.ZodArray<z.ZodType> }> }): z.ZodType {
  return response.shape.items.element;
}

/**
 * The name of a call: the verb and the noun of its action, `secret.read` as `readSecret`. `name` is its method and path as
 * in the document.
 */
export function operationIdOf({ action }: Endpoint, name: string): string {
  const special = byCall[name] ?? byAction[action];
  if (special !== undefined) return special;
  const [noun = '', verb = ''] = action.split('.');
  return `${verb}${noun[0]!.toUpperCase()}${noun.slice(1)}${verb === 'list' ? 's' : ''}`;
}

// Where noun and verb would not say it.
const byAction: Partial<Record<Endpoint['action'], string>> = {
  'openapi.read': 'readOpenApi',
  'auth.login': 'login',
  'auth.logout': 'logout',
  'auth.me': 'readMe',
  'auth.password': 'changePassword',
  'auth.refresh': 'refreshTokens',
  'auth.token': 'requestToken',
  'auth.totpConfirm': 'confirmTotp',
  'auth.totpDisable': 'disableTotp',
  'auth.totpRemove': 'removeTotp',
  'auth.totpSetUp': 'setUpTotp',
  'user.resetPassword': 'resetUserPassword',
  'user.revokeSessions': 'revokeUserSessions',
  'secret.breakGlass': 'breakGlassOfSecret',
  'secret.destroy': 'destroySecretVersions',
  'secret.export': 'exportSecrets',
  'secret.import': 'importSecrets',
  'secret.search': 'searchSecrets',
  'secret.versions': 'listSecretVersions',
  'key.changeVersion': 'changeKeyVersion',
  'key.importJob': 'createKeyImportJob',
  'key.jwks': 'readJwks',
  'key.versions': 'listKeyVersions',
  // What is done with a key, and not to it.
  'key.decapsulate': 'decapsulate',
  'key.decrypt': 'decrypt',
  'key.deriveSharedSecret': 'deriveSharedSecret',
  'key.encapsulate': 'encapsulate',
  'key.encrypt': 'encrypt',
  'key.generateDataKey': 'generateDataKey',
  'key.generateDataKeyWithoutPlaintext': 'generateDataKeyWithoutPlaintext',
  'key.mac': 'mac',
  'key.rewrap': 'rewrap',
  'key.sign': 'sign',
  'key.signJws': 'signJws',
  'key.verify': 'verify',
  'key.verifyJws': 'verifyJws',
  'key.verifyMac': 'verifyMac',
  'webhook.receive': 'receiveKekRotation',
  'webhook.follow': 'followKekRotation',
  'webhook.list': 'listWebhookDeliveries',
  'webhook.retry': 'retryWebhookDelivery',
  'unwrap.unfreeze': 'unfreezeUnwraps',
  'audit.export': 'exportAuditLog',
};

// Where several calls have one action.
const byCall: Record<string, string> = {
  'HEAD /healthz': 'probeHealth',
  'GET /api/v1/vaults/{vault}/events': 'listVaultEvents',
  'POST /api/v1/vaults/{vault}/secrets:batchRead': 'batchReadSecrets',
  'POST /api/v1/vaults/{vault}/secrets:batchWrite': 'batchWriteSecrets',
  'POST /api/v1/vaults/{vault}/secrets:delete': 'deleteSecrets',
  'POST /api/v1/vaults/{vault}/secrets:move': 'moveSecrets',
  'GET /api/v1/audit/entries': 'listAuditEntries',
  'GET /api/v1/audit/checkpoint': 'readAuditCheckpoint',
  'GET /api/v1/audit/state': 'exportAuditedState',
  'GET /api/v1/audit/proofs/inclusion': 'proveAuditInclusion',
  'GET /api/v1/audit/proofs/consistency': 'proveAuditConsistency',
  'GET /api/v1/audit/proofs/receipt': 'proveAuditReceipt',
};
