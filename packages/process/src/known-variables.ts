/**
 * Every variable that some service or command of Cardea reads. One environment may serve several services, so each of
 * them accepts the variables of the others. tests/repository compares the list with the code.
 */
export const knownVariables: readonly string[] = [
  'CARDEA_ALERTMANAGER_FILE',
  'CARDEA_AUDIT_DATABASE_URL',
  'CARDEA_AUDIT_ORIGIN',
  'CARDEA_AUDIT_PORT',
  'CARDEA_AUDIT_SINKS_FILE',
  'CARDEA_AUDIT_URL',
  'CARDEA_BIND',
  'CARDEA_CLIENT_ID',
  'CARDEA_CLIENT_SECRET',
  'CARDEA_CLIENT_SECRET_FILE',
  'CARDEA_CONNECTIONS',
  'CARDEA_DATABASE_CA_FILE',
  'CARDEA_DATABASE_CONNECTIONS',
  'CARDEA_DATABASE_PASSWORD_FILE',
  'CARDEA_DATABASE_URL',
  'CARDEA_DATA_DIR',
  'CARDEA_DEK_ROTATION_HOURS',
  'CARDEA_DOMAIN',
  'CARDEA_EXPIRY_LEAD_DAYS',
  'CARDEA_GRAFANA_PORT',
  'CARDEA_HOST',
  'CARDEA_HTTPS_PORT',
  'CARDEA_HTTP_PORT',
  'CARDEA_IMAGE',
  'CARDEA_KEK_PORT',
  'CARDEA_KEK_ROTATION_DAYS',
  'CARDEA_KEK_URL',
  'CARDEA_KEYS_PER_VAULT',
  'CARDEA_LOG_LEVEL',
  'CARDEA_METRICS_DAYS',
  'CARDEA_OPS_HOST',
  'CARDEA_OPS_PORT',
  'CARDEA_PKCS11_MODULE',
  'CARDEA_PKCS11_PIN_FILE',
  'CARDEA_PORT',
  'CARDEA_POSTGRES_CONNECTIONS',
  'CARDEA_POSTGRES_USER',
  'CARDEA_PROFILE',
  'CARDEA_READS_PER_SECOND',
  'CARDEA_READ_DATABASE_PASSWORD_FILE',
  'CARDEA_READ_DATABASE_URL',
  'CARDEA_REDIS_CA_FILE',
  'CARDEA_REDIS_PASSWORD_FILE',
  'CARDEA_REDIS_URL',
  'CARDEA_REDIS_USER',
  'CARDEA_REFUSALS_PER_MINUTE',
  'CARDEA_REQUESTS_PER_MINUTE',
  'CARDEA_SEAL',
  'CARDEA_SEAL_PASSPHRASE_FILE',
  'CARDEA_SECRETS_PER_VAULT',
  'CARDEA_SECRET_BYTES_MAX',
  'CARDEA_SIGN_INS_PER_MINUTE',
  'CARDEA_STACK_DIR',
  'CARDEA_SUBNET',
  'CARDEA_TLS_DIR',
  'CARDEA_TOKEN',
  'CARDEA_TRASH_DAYS',
  'CARDEA_TRUSTED_PROXIES',
  'CARDEA_TRUSTED_PROXY_CIDRS',
  'CARDEA_UNWRAPS_PER_MINUTE',
  'CARDEA_UNWRAP_VAULTS_PER_MINUTE',
  'CARDEA_URL',
  'CARDEA_VAULTS_MADE_PER_USER',
  'CARDEA_WEBHOOKS_FILE',
];

// The tests put these into the environment of the services that they start.
const OF_TESTS = 'CARDEA_TEST_';

/** The variables of this environment that look like Cardea's and that nothing reads, each with the nearest one. */
export function findUnknown(names: string[]): { name: string; nearest: string }[] {
  return names
    .filter((name) => /^CARDEA_/i.test(name) && !name.startsWith(OF_TESTS) && !knownVariables.includes(name))
    .map((name) => ({ name, nearest: nearestTo(name, knownVariables) }));
}

/** The name in a list, which is not empty, that is most like `name`. */
export function nearestTo(name: string, known: readonly string[]): string {
  const upper = name.toUpperCase();
  return known
    .map((one) => ({ one, edits: distance(upper, one.toUpperCase()) }))
    .reduce((best, next) => (next.edits < best.edits ? next : best)).one;
}

/** How many characters must be added, left out or replaced (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of from.split('').entries()) {
    const next = [i + 1];
    for (const [j, other] of to.split('').entries()) {
      const replaced = row[j]! + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}
