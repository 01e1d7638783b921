import { generateKeyPairSync } from 'node:crypto';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { keyVerbs, secretVerbs } from '@cardea/contracts/grants';
import { parseWebhookSecret, signWebhook } from '@cardea/crypto/webhook-signature';
import type { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';

/** A caller who calls every endpoint. */
export interface Principal {
  /** The caller's position in the rows of the table. */
  column: Column;
  /** `secrets:read`: the one verb of a developer in the column `granted`. */
  verb?: string;
  token: string;
  /** The username, for users only. */
  password?: string;
  /** The actor in the audit log. A stranger is `anonymous`. */
  id: string;
}

/**
 * `granted` are developers, one for each verb. `application` may read secrets. `outsider` is an application without
 * grants and `nothing` a developer without grants. The vault belongs to `owner`.
 */
export const columns = ['stranger', 'admin', 'owner', 'granted', 'nothing', 'ceo', 'application', 'outsider'] as const;
export type Column = (typeof columns)[number];

export const verbs = [...secretVerbs.map((verb) => `secrets:${verb}`), ...keyVerbs.map((verb) => `keys:${verb}`)];

/** The objects of other callers that the calls are about. No denied call may change them. */
export const ground = {
  vault: 'theirs',
  secret: 'db/password',
  key: 'their-key',
  user: 'victim',
  application: 'victim-app',
  /** Filled in once they exist. */
  clientSecret: '',
  credentialId: '',
  sessionId: '',
};

/** What one call sends: values for the parameters of the path, and a body. */
export interface Sending {
  params?: Record<string, string>;
  body?: object;
  token?: string;
  headers?: Record<string, string>;
}

export interface Row {
  /** The statuses, by column. */
  statuses: string;
  /** The statuses of developers with one verb, if they differ. */
  verbs?: Record<string, number>;
  body?: object;
  query?: string;
  /** How each secret is recorded, after the record of the whole call. */
  each?: string;
  /** Makes what a successful call uses up, so that the next one finds the same state. */
  fresh?(principal: Principal, admin: Person): Promise<Sending>;
}

let made = 0;
const another = (kind: string) => `${kind}-${(made += 1)}`;

const anotherUser = async (_principal: Principal, admin: Person): Promise<{ params: Record<string, string> }> => {
  const username = another('user');
  await admin.post('/users', { username, role: 'developer', password: PASSWORD }).expect(201);
  return { params: { username } };
};
const anotherApplication = async (_principal: Principal, admin: Person) => {
  const name = another('application');
  await admin.post('/applications', { name }).expect(201);
  return { params: { name } };
};
const anotherSecret = async (admin: Person) => {
  const name = another('secret');
  await admin.putSecret(ground.vault, name, 'another');
  return { params: { name } };
};
const anotherKey =
  (algorithm = 'aes-256-gcm', body: object = {}) =>
  async (_principal: Principal, admin: Person): Promise<Sending> => {
    const name = another('key');
    await admin.post(`/vaults/${ground.vault}/keys`, { name, algorithm }).expect(201);
    return { params: { name }, body };
  };

/** The public key of a peer, and bytes that carry a secret to every key. */
const PEER = generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'pem' });
const ENCAPSULATED = `cardea:v1:${Buffer.alloc(1_088).toString('base64')}`;

/** A key, and what it has made of the bytes 0 0 0. */
const anotherCiphertext = async (principal: Principal, admin: Person): Promise<Sending> => {
  const { params } = await anotherKey()(principal, admin);
  const path = `/vaults/${ground.vault}/keys/${params!['name']}:encrypt`;
  const { body } = await admin.post(path, { plaintextBase64: 'AAAA' }).expect(200);
  return { params: params!, body: { ciphertext: body.ciphertext as string } };
};
const WEBHOOK = '/webhooks/kek-rotation';

/** Makes the only secret of the webhook. */
async function anotherWebhookSecret(admin: Person): Promise<{ id: string; secret: string }> {
  const { body } = await admin.get(`${WEBHOOK}/secrets`).expect(200);
  for (const { id } of body.items as { id: string }[]) await admin.delete(`${WEBHOOK}/secrets/${id}`).expect(204);
  const made = await admin.post(`${WEBHOOK}/secrets`).expect(201);
  return made.body as { id: string; secret: string };
}

/** The header fields of a request that the only secret of the webhook signs. */
async function signatureOf(admin: Person, body: string): Promise<Record<string, string>> {
  const { secret } = await anotherWebhookSecret(admin);
  const message = { id: another('message'), timestampSeconds: Math.floor(Date.now() / 1000), body };
  return {
    'webhook-id': message.id,
    'webhook-timestamp': String(message.timestampSeconds),
    'webhook-signature': signWebhook(parseWebhookSecret(secret)!, message),
  };
}

const PUBLIC_KEY = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
const RSA_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' });

const read = { secrets: ['read'] };

// The columns:            stranger admin owner granted nothing ceo application outsider
const ANYBODY = '           200      200   200   200     200     200 200         200';
const SIGNED_IN = '         401      200   200   200     200     200 200         200';
const USERS_ONLY = '        401      200   200   200     200     200 403         403';
const ADMINS_ONLY = '       401      200   403   403     403     403 403         403';
const ADMINS_MAKE = '       401      201   403   403     403     403 403         403';
const ADMINS_REMOVE = '     401      204   403   403     403     403 403         403';
const OVERSEERS = '         401      200   403   403     403     200 403         403';

/** For every endpoint, by method and path, the status of each caller. */
export const table: Record<string, Row> = {
  'GET /healthz': { statuses: ANYBODY },
  'HEAD /healthz': { statuses: ANYBODY },
  'GET /api/v1/openapi.json': { statuses: ANYBODY },

  'POST /api/v1/auth/login': { statuses: ANYBODY, body: { username: ground.user, password: PASSWORD } },
  'POST /api/v1/auth/refresh': {
    statuses: ANYBODY,
    async fresh(_principal, admin) {
      const answer = await admin.post('/auth/login', { username: ground.user, password: PASSWORD }).expect(200);
      return { body: { refresh_token: answer.body.refresh_token as string } };
    },
  },
  'POST /api/v1/auth/token': {
    statuses: ANYBODY,
    async fresh() {
      const { application: client_id, clientSecret: client_secret } = ground;
      return { body: { grant_type: 'client_credentials', client_id, client_secret } };
    },
  },
  'POST /api/v1/auth/logout': {
    statuses: '401 204 204 204 204 204 403 403',
    async fresh({ password, id }, admin) {
      const { body } = await admin.post('/auth/login', { username: id, password }).expect(200);
      return { token: body.access_token as string };
    },
  },
  'GET /api/v1/auth/me': { statuses: SIGNED_IN },
  'POST /api/v1/auth/password': {
    statuses: '401 204 204 204 204 204 403 403',
    body: { currentPassword: PASSWORD, newPassword: `${PASSWORD} 2` },
    async fresh(principal) {
      const body = { currentPassword: principal.password, newPassword: `${PASSWORD} 2` };
      principal.password = body.newPassword;
      return { body };
    },
  },
  // A wrong code, so everybody is denied. Each user has set up TOTP by the row of that call.
  'POST /api/v1/auth/totp:confirm': { statuses: '401 403 403 403 403 403 403 403', body: { otp: 'wrong' } },
  'POST /api/v1/auth/totp:disable': { statuses: '401 409 409 409 409 409 403 403', body: { otp: 'wrong' } },
  'POST /api/v1/auth/totp': {
    statuses: USERS_ONLY,
    body: { currentPassword: PASSWORD },
    async fresh({ password = PASSWORD }) {
      return { body: { currentPassword: password } };
    },
  },
  'DELETE /api/v1/auth/totp': { statuses: '401 204 204 204 204 204 403 403' },
  'GET /api/v1/auth/sessions': { statuses: USERS_ONLY },
  // The session of somebody else: not even an admin ends it this way.
  'DELETE /api/v1/auth/sessions/{id}': { statuses: '401 404 404 404 404 404 404 404' },

  'POST /api/v1/users': {
    statuses: ADMINS_MAKE,
    body: { username: 'unwanted', role: 'admin', password: PASSWORD },
    async fresh() {
      return { body: { username: another('user'), role: 'admin', password: PASSWORD } };
    },
  },
  'GET /api/v1/users': { statuses: ADMINS_ONLY },
  'GET /api/v1/users/{username}': { statuses: ADMINS_ONLY },
  'PATCH /api/v1/users/{username}': { statuses: ADMINS_ONLY, body: { role: 'admin' }, fresh: anotherUser },
  'DELETE /api/v1/users/{username}': { statuses: ADMINS_REMOVE, fresh: anotherUser },
  'POST /api/v1/users/{username}:resetPassword': { statuses: ADMINS_ONLY, fresh: anotherUser },
  'POST /api/v1/users/{username}:unlock': { statuses: ADMINS_REMOVE, fresh: anotherUser },
  'POST /api/v1/users/{username}:revokeSessions': { statuses: ADMINS_REMOVE, fresh: anotherUser },

  'POST /api/v1/applications': {
    statuses: ADMINS_MAKE,
    body: { name: 'unwanted' },
    async fresh() {
      return { body: { name: another('application') } };
    },
  },
  'GET /api/v1/applications': { statuses: ADMINS_ONLY },
  'GET /api/v1/applications/{name}': { statuses: ADMINS_ONLY },
  'PATCH /api/v1/applications/{name}': {
    statuses: ADMINS_ONLY,
    body: { disabled: true },
    fresh: anotherApplication,
  },
  'DELETE /api/v1/applications/{name}': { statuses: ADMINS_REMOVE, fresh: anotherApplication },
  'POST /api/v1/applications/{name}/credentials': { statuses: ADMINS_MAKE, fresh: anotherApplication },
  'GET /api/v1/applications/{name}/credentials': { statuses: ADMINS_ONLY },
  'DELETE /api/v1/applications/{name}/credentials/{id}': {
    statuses: ADMINS_REMOVE,
    async fresh(principal, admin) {
      const { params } = await anotherApplication(principal, admin);
      const { body } = await admin.get(`/applications/${params.name}/credentials`).expect(200);
      return { params: { ...params, id: body.items[0].id as string } };
    },
  },

  'GET /api/v1/status': { statuses: OVERSEERS },
  'GET /api/v1/events': { statuses: OVERSEERS },

  'POST /api/v1/rotations': {
    statuses: '401 202 403 403 403 403 403 403',
    body: { kind: 'dek', vault: ground.vault },
  },
  'GET /api/v1/rotations': { statuses: OVERSEERS },
  // No rotation has this id.
  'GET /api/v1/rotations/{id}': { statuses: '401 404 403 403 403 404 403 403' },
  'POST /api/v1/rotations/{id}:pause': { statuses: '401 404 403 403 403 403 403 403' },
  'POST /api/v1/rotations/{id}:resume': { statuses: '401 404 403 403 403 403 403 403' },
  'POST /api/v1/rotations/{id}:cancel': { statuses: '401 404 403 403 403 403 403 403' },
  'GET /api/v1/keks': { statuses: OVERSEERS },
  // The newest KEK is in use.
  'POST /api/v1/keks/{version}:destroy': { statuses: '401 409 403 403 403 403 403 403' },

  'GET /api/v1/seals': { statuses: ADMINS_ONLY },
  'POST /api/v1/seals': {
    statuses: ADMINS_MAKE,
    body: { type: 'shamir', shares: 2, threshold: 2 },
  },
  // Nobody has proven another seal.
  'DELETE /api/v1/seals/{id}': { statuses: '401 404 403 403 403 403 403 403' },
  // Nothing is frozen.
  'POST /api/v1/seals:unfreeze': {
    statuses: '401 409 403 403 403 403 403 403',
    body: { reason: 'the yearly exercise' },
  },

  'POST /api/v1/vaults': {
    statuses: '401 201 201 201 201 403 403 403',
    body: { name: 'unwanted' },
    async fresh() {
      return { body: { name: another('vault') } };
    },
  },
  'GET /api/v1/vaults': { statuses: SIGNED_IN },
  'GET /api/v1/vaults/{vault}': { statuses: '401 200 200 200 404 200 200 404' },
  'PATCH /api/v1/vaults/{vault}': {
    statuses: '401 200 200 403 404 403 403 404',
    body: { description: 'not theirs alone', maxVersions: 7 },
  },
  'DELETE /api/v1/vaults/{vault}': {
    statuses: '401 204 204 403 404 403 403 404',
    async fresh({ id }, admin) {
      const vault = another('vault');
      await admin.createVault(vault);
      await admin.put(`/vaults/${vault}/grants/user:${id}`, { owner: true }).expect(201);
      return { params: { vault } };
    },
  },
  'GET /api/v1/vaults/{vault}/events': { statuses: '401 200 200 403 404 200 403 404' },
  'GET /api/v1/vaults/{vault}/grants': { statuses: '401 200 200 403 404 200 403 404' },
  'GET /api/v1/vaults/{vault}/grants/{*principal}': {
    statuses: '401 200 200 403 404 200 403 404',
    async fresh(caller, admin) {
      const { params } = await anotherUser(caller, admin);
      const principal = `user:${params['username']}`;
      await admin.put(`/vaults/${ground.vault}/grants/${principal}`, read).expect(201);
      return { params: { principal } };
    },
  },
  'PUT /api/v1/vaults/{vault}/grants/{*principal}': {
    statuses: '401 201 201 403 404 403 403 404',
    body: { ...read, owner: true },
    async fresh(principal, admin) {
      const { params } = await anotherUser(principal, admin);
      return { params: { principal: `user:${params['username']}` } };
    },
  },
  'DELETE /api/v1/vaults/{vault}/grants/{*principal}': {
    statuses: '401 204 204 403 404 403 403 404',
    async fresh(caller, admin) {
      const { params } = await anotherUser(caller, admin);
      const principal = `user:${params['username']}`;
      await admin.put(`/vaults/${ground.vault}/grants/${principal}`, read).expect(201);
      return { params: { principal } };
    },
  },
  'POST /api/v1/access:explain': {
    statuses: '401 200 200 403 404 403 403 404',
    body: { principal: `user:${ground.user}`, vault: ground.vault, action: 'secret.read' },
  },

  'PUT /api/v1/vaults/{vault}/secrets/{+name}': {
    statuses: '401 201 201 403 404 403 403 404',
    verbs: { 'secrets:write': 201 },
    body: { value: 'theirs no more' },
    async fresh() {
      return { params: { name: another('secret') } };
    },
  },
  'GET /api/v1/vaults/{vault}/secrets/{+name}': {
    statuses: '401 200 200 403 404 403 200 404',
    verbs: { 'secrets:read': 200 },
  },
  'PATCH /api/v1/vaults/{vault}/secrets/{+name}': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:write': 200 },
    body: { metadata: { team: 'theirs no more' } },
    fresh: (_principal, admin) => anotherSecret(admin),
  },
  'DELETE /api/v1/vaults/{vault}/secrets/{+name}': {
    statuses: '401 204 204 403 404 403 403 404',
    verbs: { 'secrets:delete': 204 },
    fresh: (_principal, admin) => anotherSecret(admin),
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:restore': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:delete': 200 },
    async fresh(_principal, admin) {
      const { params } = await anotherSecret(admin);
      await admin.delete(`/vaults/${ground.vault}/secrets/${params.name}`).expect(204);
      return { params };
    },
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:purge': {
    statuses: '401 204 204 403 404 403 403 404',
    verbs: { 'secrets:destroy': 204 },
    fresh: (_principal, admin) => anotherSecret(admin),
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:destroy': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:destroy': 200 },
    body: { versions: [1] },
    fresh: async (_principal, admin) => ({ ...(await anotherSecret(admin)), body: { versions: [1] } }),
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:rollback': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:write': 200 },
    body: { version: 1 },
    fresh: async (_principal, admin) => ({ ...(await anotherSecret(admin)), body: { version: 1 } }),
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:generate': {
    statuses: '401 201 201 403 404 403 403 404',
    verbs: { 'secrets:write': 201 },
    async fresh() {
      return { params: { name: another('secret') } };
    },
  },
  'GET /api/v1/vaults/{vault}/secrets/{+name}:versions': {
    statuses: '401 200 200 403 404 200 403 404',
    verbs: { 'secrets:list': 200 },
  },
  'POST /api/v1/vaults/{vault}/secrets/{+name}:breakGlass': {
    statuses: '401 403 403 403 404 200 403 404',
    body: { reason: 'the yearly exercise' },
  },
  'POST /api/v1/vaults/{vault}/secrets:batchRead': {
    statuses: '401 200 200 403 404 403 200 404',
    verbs: { 'secrets:read': 200 },
    body: { names: [ground.secret] },
  },
  'POST /api/v1/vaults/{vault}/secrets:batchWrite': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:write': 200 },
    body: { secrets: [{ name: ground.secret, value: 'theirs no more' }] },
    async fresh() {
      return { body: { secrets: [{ name: another('secret'), value: 'another' }] } };
    },
  },
  'POST /api/v1/vaults/{vault}/secrets:delete': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:delete': 200 },
    body: { names: [ground.secret] },
    async fresh(_principal, admin) {
      const { params } = await anotherSecret(admin);
      return { body: { names: [params.name] } };
    },
  },
  // No single verb is enough: it needs reading, deleting and writing.
  'POST /api/v1/vaults/{vault}/secrets/{+name}:move': {
    statuses: '401 200 200 403 404 403 403 404',
    body: { name: 'elsewhere' },
    async fresh(_principal, admin) {
      return { ...(await anotherSecret(admin)), body: { name: another('moved') } };
    },
  },
  'POST /api/v1/vaults/{vault}/secrets:move': {
    statuses: '401 200 200 403 404 403 403 404',
    body: { prefix: ground.secret, toPrefix: 'elsewhere' },
    async fresh(_principal, admin) {
      const { params } = await anotherSecret(admin);
      return { body: { prefix: params.name, toPrefix: another('moved') } };
    },
  },
  'GET /api/v1/vaults/{vault}/secrets': {
    statuses: '401 200 200 403 404 200 403 404',
    verbs: { 'secrets:list': 200 },
  },
  // Everybody searches what they may list. A caller who may list nothing finds nothing.
  'GET /api/v1/secrets': { statuses: SIGNED_IN, query: 'q=password' },
  'POST /api/v1/vaults/{vault}/secrets:import': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'secrets:write': 200 },
    body: { format: 'dotenv', content: `${ground.secret}='theirs no more'` },
    each: 'secret.write',
    async fresh() {
      return { body: { format: 'dotenv', content: `${another('secret')}=imported` } };
    },
  },
  // No single verb is enough: it needs reading and listing.
  'POST /api/v1/vaults/{vault}/secrets:export': {
    statuses: '401 200 200 403 404 403 403 404',
    body: { format: 'json', prefix: ground.secret },
    each: 'secret.read',
  },

  'POST /api/v1/vaults/{vault}/keys': {
    statuses: '401 201 201 403 404 403 403 404',
    verbs: { 'keys:manage': 201 },
    body: { name: 'unwanted', algorithm: 'ed25519' },
    async fresh() {
      return { body: { name: another('key'), algorithm: 'ed25519' } };
    },
  },
  'GET /api/v1/vaults/{vault}/keys': {
    statuses: '401 200 200 403 404 200 403 404',
    verbs: { 'keys:list': 200 },
  },
  'GET /api/v1/vaults/{vault}/keys/{name}': {
    statuses: '401 200 200 403 404 200 403 404',
    verbs: { 'keys:list': 200 },
  },
  'GET /api/v1/vaults/{vault}/keys/{name}:versions': {
    statuses: '401 200 200 403 404 200 403 404',
    verbs: { 'keys:list': 200 },
  },
  'PATCH /api/v1/vaults/{vault}/keys/{name}': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:manage': 200 },
    body: { minEncryptVersion: 1 },
    fresh: anotherKey('aes-256-gcm', { minEncryptVersion: 1 }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:rotate': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:rotate': 200 },
    fresh: anotherKey(),
  },
  'PATCH /api/v1/vaults/{vault}/keys/{name}/versions/{version}': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:manage': 200 },
    body: { state: 'disabled' },
    fresh: anotherKey('aes-256-gcm', { state: 'disabled' }),
  },
  'DELETE /api/v1/vaults/{vault}/keys/{name}': {
    statuses: '401 202 202 403 404 403 403 404',
    verbs: { 'keys:delete': 202 },
    async fresh(principal, admin) {
      const { params } = await anotherKey()(principal, admin);
      return { params: params! };
    },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:restore': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:delete': 200 },
    async fresh(principal, admin) {
      const { params } = await anotherKey()(principal, admin);
      await admin.delete(`/vaults/${ground.vault}/keys/${params!['name']}`).expect(202);
      return { params: params! };
    },
  },
  // Nobody has made the vault public, so nobody learns that it exists.
  'GET /api/v1/vaults/{vault}/keys:jwks': { statuses: '404 404 404 404 404 404 404 404' },
  'POST /api/v1/vaults/{vault}/keys:importJob': {
    statuses: '401 201 201 403 404 403 403 404',
    verbs: { 'keys:import': 201 },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:import': {
    statuses: '401 201 201 403 404 403 403 404',
    verbs: { 'keys:import': 201 },
    body: { algorithm: 'ed25519', publicKeyPem: PUBLIC_KEY },
    async fresh() {
      return { params: { name: another('key') }, body: { algorithm: 'ed25519', publicKeyPem: PUBLIC_KEY } };
    },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:export': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:export': 200 },
    body: { publicKeyPem: RSA_KEY },
    async fresh(_principal, admin) {
      const name = another('key');
      const key = { name, algorithm: 'aes-256-gcm', exportable: true };
      await admin.post(`/vaults/${ground.vault}/keys`, key).expect(201);
      return { params: { name }, body: { publicKeyPem: RSA_KEY } };
    },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:encrypt': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:encrypt': 200 },
    body: { plaintextBase64: 'AAAA' },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:decrypt': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:decrypt': 200 },
    body: { ciphertext: 'none' },
    fresh: anotherCiphertext,
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:rewrap': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:encrypt': 200 },
    body: { ciphertext: 'none' },
    fresh: anotherCiphertext,
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:generateDataKey': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:encrypt': 200 },
    body: { bits: 256 },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:generateDataKeyWithoutPlaintext': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:encrypt': 200 },
    body: { bits: 256 },
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:sign': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:sign': 200 },
    body: { messageBase64: 'AAAA' },
    fresh: anotherKey('ed25519', { messageBase64: 'AAAA' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:verify': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:verify': 200 },
    body: { messageBase64: 'AAAA', signature: 'none' },
    fresh: anotherKey('ed25519', { messageBase64: 'AAAA', signature: 'none' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:mac': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:sign': 200 },
    body: { messageBase64: 'AAAA' },
    fresh: anotherKey('hmac-sha256', { messageBase64: 'AAAA' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:verifyMac': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:verify': 200 },
    body: { messageBase64: 'AAAA', mac: 'none' },
    fresh: anotherKey('hmac-sha256', { messageBase64: 'AAAA', mac: 'none' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:signJws': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:sign': 200 },
    body: { payloadBase64: 'AAAA' },
    fresh: anotherKey('ed25519', { payloadBase64: 'AAAA' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:verifyJws': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:verify': 200 },
    body: { jws: 'none' },
    fresh: anotherKey('ed25519', { jws: 'none' }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:deriveSharedSecret': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:decrypt': 200 },
    body: { peerPublicKeyPem: PEER },
    fresh: anotherKey('x25519', { peerPublicKeyPem: PEER }),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:encapsulate': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:encrypt': 200 },
    body: {},
    fresh: anotherKey('ml-kem-768', {}),
  },
  'POST /api/v1/vaults/{vault}/keys/{name}:decapsulate': {
    statuses: '401 200 200 403 404 403 403 404',
    verbs: { 'keys:decrypt': 200 },
    body: { ciphertext: ENCAPSULATED },
    fresh: anotherKey('ml-kem-768', { ciphertext: ENCAPSULATED }),
  },
  'POST /api/v1/random': { statuses: SIGNED_IN, body: { bytes: 3 } },

  // A signature opens these, not a token.
  'POST /api/v1/webhooks/kek-rotation': {
    statuses: '202 202 202 202 202 202 202 202',
    body: {},
    each: 'rotation.start',
    async fresh(_principal, admin) {
      return { headers: await signatureOf(admin, '{}') };
    },
  },
  'GET /api/v1/webhooks/kek-rotation/rotations/{id}': {
    statuses: ANYBODY,
    async fresh(_principal, admin) {
      const started = await admin
        .with(await signatureOf(admin, '{}'))
        .post(WEBHOOK, {})
        .expect(202);
      return { params: { id: started.body.id as string }, headers: await signatureOf(admin, '') };
    },
  },
  'POST /api/v1/webhooks/kek-rotation/secrets': {
    statuses: ADMINS_MAKE,
    async fresh(_principal, admin) {
      const { id } = await anotherWebhookSecret(admin);
      await admin.delete(`${WEBHOOK}/secrets/${id}`).expect(204);
      return {};
    },
  },
  'GET /api/v1/webhooks/kek-rotation/secrets': { statuses: ADMINS_ONLY },
  'DELETE /api/v1/webhooks/kek-rotation/secrets/{id}': {
    statuses: ADMINS_REMOVE,
    async fresh(_principal, admin) {
      const { id } = await anotherWebhookSecret(admin);
      return { params: { id } };
    },
  },
  'GET /api/v1/webhooks/deliveries': { statuses: ADMINS_ONLY },
  // Nothing was ever sent here, so there is nothing to send again.
  'POST /api/v1/webhooks/deliveries/{id}:retry': { statuses: '401 404 403 403 403 403 403 403' },

  'GET /api/v1/audit/entries': { statuses: OVERSEERS },
  'GET /api/v1/audit/proofs/inclusion': { statuses: OVERSEERS, query: 'seq=0' },
  'GET /api/v1/audit/proofs/consistency': { statuses: OVERSEERS, query: 'from=1' },
  // Nobody here has a receipt: the leaf is none of the log.
  'GET /api/v1/audit/proofs/receipt': {
    statuses: '401 404 404 404 404 404 404 404',
    query: `seq=0&leaf=${'A'.repeat(43)}%3D`,
  },
  'GET /api/v1/audit/checkpoint': { statuses: OVERSEERS },
  'GET /api/v1/audit/export': { statuses: OVERSEERS },
  'GET /api/v1/audit/state': { statuses: OVERSEERS },
};

/** The row of an endpoint. @throws Error that says where it is missing */
export function rowOf({ method, path }: Pick<Endpoint, 'method' | 'path'>): Row {
  const row = table[`${method} ${path}`];
  if (!row) throw new Error(`tests/access/access-table.ts has no row for ${method} ${path}: add one`);
  return row;
}

/** The path of an endpoint with a value for each parameter. @throws Error that names a parameter without a value */
export function fillPath(path: string, values: Record<string, string>): string {
  return path.replace(/\{[+*]?(\w+)\}/g, (parameter, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the test has no value for ${parameter} of ${path}: add one`);
    return value;
  });
}

/** The status that a row promises a caller. */
export function expectedStatus(row: Row, { column, verb }: Principal): number {
  const byColumn = row.statuses.trim().split(/\s+/);
  return row.verbs?.[verb ?? ''] ?? Number(byColumn[columns.indexOf(column)]);
}
