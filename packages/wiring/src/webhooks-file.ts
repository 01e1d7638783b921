import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Cidr } from '@cardea/contracts/cidr';
import { PlainName } from '@cardea/contracts/names';
import { webhookEventKinds } from '@cardea/contracts/webhooks/events';
import type { WebhookEndpoint } from '@cardea/contracts/webhooks/sender';
import { parseWebhookSecret } from '@cardea/crypto/webhook-signature';
import { withCause } from '@cardea/process/cause';
import { StartError } from '@cardea/process/config';
import { readPrivateFileSync } from '@cardea/process/private-file';
import { isPrivate } from '@cardea/process/private-mode';
import { parse } from 'yaml';
import { z } from 'zod';

const ENDPOINTS_MAX = 32;

const Endpoint = z.strictObject({
  name: PlainName,
  url: z.string().max(2048),
  events: z.array(z.enum(webhookEventKinds)).min(1),
  secret: z.string().optional(),
  secretFile: z.string().min(1).optional(),
  secretEnv: z.string().min(1).optional(),
  allowHttp: z.boolean().default(false),
  allowNetworks: z.array(Cidr).max(64).default([]),
});

const File = z.strictObject({ endpoints: z.array(Endpoint).max(ENDPOINTS_MAX) });

/**
 * Reads the receivers of webhooks from a file of JSON or YAML. Secrets may be in it, in files of their own (a relative
 * path is relative to this file), or in variables of `env`.
 * @throws StartError that says what is wrong, and never repeats a secret
 */
export function readWebhooksFile(path: string, env: NodeJS.ProcessEnv): WebhookEndpoint[] {
  const { text, shared } = readText(path);
  const parsed = File.safeParse(parseYaml(path, text));
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw wrong(path, problems.join('; '));
  }
  const { endpoints } = parsed.data;
  refuseRepeatedNames(path, endpoints);
  const holdsSecrets = endpoints.some(({ secret }) => secret !== undefined);
  if (shared && holdsSecrets) throw wrong(path, `it holds secrets and other users can read it: run chmod 600 ${path}`);
  return endpoints.map((endpoint) => toEndpoint(endpoint, { path, env }));
}

interface Source {
  path: string;
  env: NodeJS.ProcessEnv;
}

function toEndpoint(endpoint: z.output<typeof Endpoint>, source: Source): WebhookEndpoint {
  const { name, events, allowNetworks } = endpoint;
  const key = parseWebhookSecret(secretOf(endpoint, source));
  if (!key) throw wrong(source.path, `the secret of ${name} must be whsec_ and the base64 of 24 to 64 bytes`);
  return { name, url: checkedUrl(endpoint, source), events: new Set(events), key, allowNetworks };
}

function secretOf({ name, secret, secretFile, secretEnv }: z.output<typeof Endpoint>, { path, env }: Source): string {
  const given = [secret, secretFile, secretEnv].filter((one) => one !== undefined);
  if (given.length !== 1) throw wrong(path, `${name} needs one of secret, secretFile and secretEnv`);
  if (secret !== undefined) return secret;
  if (secretFile !== undefined) return readSecretFile(resolve(dirname(path), secretFile));
  const text = env[secretEnv!];
  if (!text) throw wrong(path, `${name} takes its secret from ${secretEnv}, which is not set`);
  return text;
}

function readSecretFile(path: string): string {
  return readPrivateFileSync({ path, subject: `The file ${path} that CARDEA_WEBHOOKS_FILE needs` }).trim();
}

function checkedUrl({ name, url: text, allowHttp }: z.output<typeof Endpoint>, { path }: Source): string {
  const url = URL.parse(text);
  const schemes = allowHttp ? ['https:', 'http:'] : ['https:'];
  if (!url || !schemes.includes(url.protocol)) throw wrong(path, `the url of ${name} must begin with https://`);
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw wrong(path, `the url of ${name} must have no user, no password and no fragment`);
  }
  return url.href;
}

function refuseRepeatedNames(path: string, endpoints: { name: string }[]): void {
  const names = endpoints.map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw wrong(path, `two endpoints have the name ${repeated}`);
}

function parseYaml(path: string, text: string): unknown {
  try {
    // Every JSON text is YAML too.
    return parse(text, { prettyErrors: false });
  } catch (cause) {
    // The message of the parser may quote the line with a secret.
    throw new StartError(`The file ${path} that CARDEA_WEBHOOKS_FILE names is not JSON or YAML.`, { cause });
  }
}

/** The text of a file, and whether users other than its owner can read it. */
function readText(path: string): { text: string; shared: boolean } {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return { text: readFileSync(file, 'utf8'), shared: !isPrivate(fstatSync(file)) };
  } catch (cause) {
    const message = withCause(`The file ${path} that CARDEA_WEBHOOKS_FILE needs cannot be read`, cause);
    throw new StartError(`${message}.`, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function wrong(path: string, problem: string): StartError {
  return new StartError(`The file ${path} that CARDEA_WEBHOOKS_FILE names is wrong: ${problem}.`);
}
