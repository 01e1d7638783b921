import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { parseWebhookSecret } from '@cardea/crypto/webhook-signature';
import { withCause } from '@cardea/process/cause';
import { StartError, startProblem } from '@cardea/process/config';
import { readPrivateFileSync } from '@cardea/process/private-file';
import { z } from 'zod';

const AbsolutePath = z.string().refine(isAbsolute, 'must be an absolute path');

const common = {
  /** Names the sink in metrics, in records and in the database. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and -, and begin with a letter'),
  /** Beyond its lag limits, Cardea shows and changes nothing. */
  required: z.boolean().default(false),
  maxLagEntries: z.int().min(1).optional(),
  maxLagSeconds: z.int().min(1).optional(),
};

const SinkSettings = z
  .discriminatedUnion('type', [
    z.strictObject({ ...common, type: z.literal('file'), path: AbsolutePath }),
    z.strictObject({
      ...common,
      type: z.literal('https'),
      url: z
        .url({ protocol: /^https$/, error: 'must be a URL that begins with https://' })
        .refine((url) => new URL(url).username === '' && new URL(url).password === '', 'must not have a password')
        // The settings are in the log, where a key in a query would be readable.
        .refine((url) => new URL(url).search === '', 'must not have a query'),
      /** A file with the secret that signs what is sent, `whsec_…`. */
      secretFile: AbsolutePath,
      /** A file with the CAs that the receiver's certificate may come from, in place of those of the system. */
      caFile: AbsolutePath.optional(),
      /** Networks that the receiver may be in although they are not public. */
      allowNetworks: z.array(z.union([z.cidrv4(), z.cidrv6()])).default([]),
    }),
  ])
  .refine(
    (sink) => sink.required === (sink.maxLagEntries !== undefined || sink.maxLagSeconds !== undefined),
    'needs required: true together with maxLagEntries or maxLagSeconds, and neither alone',
  );

const SinksFile = z.strictObject({
  sinks: z
    .array(SinkSettings)
    .max(16)
    .refine((sinks) => new Set(sinks.map(({ name }) => name)).size === sinks.length, 'must have different names')
    .refine((sinks) => {
      const paths = sinks.flatMap((sink) => (sink.type === 'file' ? [resolve(sink.path)] : []));
      return new Set(paths).size === paths.length;
    }, 'must have different paths'),
});

/** A sink as the operator's file describes it. */
export type SinkSettings = z.output<typeof SinkSettings>;

/**
 * Reads the file that describes the sinks, as JSON, and looks at the files that it names.
 * @throws StartError with everything that is wrong
 */
export function readSinksFile(path: string): SinkSettings[] {
  const subject = `The file ${path} that CARDEA_AUDIT_SINKS_FILE names`;
  const parsed = SinksFile.safeParse(parseJson(subject, path));
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path: at, message }) => `${at.join('.') || 'the file'}: ${message}`);
    throw new StartError(`${subject} is wrong: ${problems.join('; ')}.`);
  }
  const { sinks } = parsed.data;
  const problems = sinks.flatMap((sink) => (sink.type === 'https' ? problemsOfFiles(sink) : []));
  if (problems.length > 0) throw new StartError(`${subject} is wrong: ${problems.join('; ')}.`);
  return sinks;
}

/** The key of a sink's signatures. @throws StartError */
export function readSinkKey({ name, secretFile }: { name: string; secretFile: string }): Uint8Array {
  const subject = `The file ${secretFile} of the sink ${name}`;
  const key = parseWebhookSecret(readPrivateFileSync({ path: secretFile, subject }).trim());
  if (!key) throw new StartError(`${subject} must have a secret like whsec_ and 24 to 64 bytes in base64.`);
  return key;
}

/** The CAs of a sink, as PEM. @throws StartError */
export function readSinkCa({ name, caFile }: { name: string; caFile?: string | undefined }): string | undefined {
  if (caFile === undefined) return undefined;
  const subject = `The file ${caFile} of the sink ${name}`;
  const pem = readText(subject, caFile);
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new StartError(`${subject} has no certificate in PEM.`);
  return pem;
}

function problemsOfFiles(sink: Extract<SinkSettings, { type: 'https' }>): string[] {
  const problems = [startProblem(() => readSinkKey(sink)), startProblem(() => readSinkCa(sink))];
  return problems.filter((problem) => problem !== undefined);
}

function parseJson(subject: string, path: string): unknown {
  try {
    return JSON.parse(readText(subject, path));
  } catch (cause) {
    if (cause instanceof StartError) throw cause;
    throw new StartError(`${subject} is not JSON.`, { cause });
  }
}

function readText(subject: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new StartError(`${withCause(`${subject} cannot be read`, cause)}.`, { cause });
  }
}
