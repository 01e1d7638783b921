import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { AppError } from '@cardea/contracts/errors';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { DOCUMENT_BYTES_MAX } from '@cardea/contracts/secrets/documents';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import type { Queryable } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { authorizeAll } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { covers } from '../../decide.ts';
import { nameRanges } from '../../name-ranges.ts';
import type { NameRange } from '../../name-ranges.ts';
import { vaultNotThere } from '../../not-there.ts';
import { beginOpening } from '../../deks/opening.ts';
import type { Opening } from '../../deks/opening.ts';
import { audited } from '../../record.ts';
import { inBulkTurn } from '../bulk/bulk-turns.ts';
import type { EventFactsList } from '../../record.ts';
import { noteReads } from '../lifecycle/last-reads.ts';
import { asWritten } from '../reference-value.ts';
import { openVersion } from '../sealing.ts';
import { formatDocument } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { DocumentItem } from './document-item.ts';
import { shellNames } from './shell-names.ts';

export interface ExportRequest {
  format: DocumentFormat;
  /** The names in the document are relative to this prefix. */
  prefix?: string | undefined;
  /** How secrets are called in the document: by their paths, or as variables of a shell. */
  names: 'paths' | 'shell';
}

export interface Export {
  content: string;
  count: number;
}

/**
 * The newest values of a vault that the caller may read, as a document for `importSecrets`. The document shows all
 * names, so the caller also needs the right to list. A reference is exported as it is and not followed.
 * @throws AppError `not_found`, `access_denied`, `rate_limited`, `sealed`, `unavailable`; `too_large` for more than
 * 1,000 secrets or 4 MiB; `conflict` if two secrets would have the same name for a shell
 */
export async function exportSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault }: { vault: string },
  request: ExportRequest,
): Promise<Audited<Export>> {
  const allowed = await authorizeAll(ctx, caller, ['secret.read', 'secret.list'], { vault });
  return inBulkTurn(ctx, caller, [allowed], () => exportAll(ctx, caller, allowed, request));
}

async function exportAll(
  ctx: VaultContext,
  caller: Caller,
  allowed: Allowed,
  { format, prefix, names }: ExportRequest,
): Promise<Audited<Export>> {
  const rows = await findReadableUnder(ctx, allowed, prefix);
  const called = namesOf(rows, prefix, names);
  // The document is written before it is recorded: if it turns out too large, nobody has read anything.
  const opening = beginOpening(ctx, caller);
  const content = await writeDocument(opening, caller, allowed, { format, rows, called });
  const facts = rows.map((row) => readingOf(allowed, row));
  const exported = { content, count: rows.length };
  const all: EventFactsList = [exportOf(allowed, prefix, rows.length), ...facts];
  const shown = await audited(ctx, caller, [allowed], all, () => exported);
  noteReads(ctx, caller, rows);
  return shown;
}

async function findReadableUnder(
  ctx: VaultContext,
  { vault, pathPrefix }: Allowed,
  prefix: string | undefined,
): Promise<Row[]> {
  const scope = narrower(prefix, pathPrefix);
  if (scope === 'disjoint') throw vaultNotThere('grant:path');
  const rows: Row[] = [];
  for (const range of nameRanges({ pathPrefix: scope.prefix })) {
    const limit = BULK_MAX + 1 - rows.length;
    rows.push(...(await listNewestVersions(ctx.db, { vaultId: vault.id, range, now: ctx.now().getTime(), limit })));
  }
  if (rows.length > BULK_MAX)
    throw new AppError('too_large', `more than ${BULK_MAX} secrets: export a prefix at a time`);
  return rows;
}

function narrower(asked: string | undefined, granted: string | undefined): { prefix: string | undefined } | 'disjoint' {
  if (asked === undefined || (granted !== undefined && covers(asked, granted))) return { prefix: granted };
  return covers(granted, asked) ? { prefix: asked } : 'disjoint';
}

interface Row {
  name: string;
  secret_id: string;
  version: number;
  ciphertext: Uint8Array;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
}

/** The newest versions that can be read: not in the trash, not expired, not destroyed. */
async function listNewestVersions(
  db: Queryable,
  { vaultId, range, now, limit }: { vaultId: string; range: NameRange; now: number; limit: number },
): Promise<Row[]> {
  return db.query<Row>(
    `select s.name, v.secret_id, v.version, v.ciphertext, v.encoding, v.content_type
       from secret s
       join secret_version v on v.secret_id = s.id and v.version = s.current_version
      where s.vault_id = $1
        and s.live = 1
        and s.name >= $2
        and s.name < $3
        and v.deleted_at is null
        and (s.due_at is null or s.due_at > $4)
        and v.ciphertext is not null
      order by s.name
      limit $5`,
    [vaultId, range.from, range.to, now, limit],
  );
}

async function writeDocument(
  opening: Opening,
  caller: Caller,
  { vault }: Allowed,
  { format, rows, called }: { format: DocumentFormat; rows: Row[]; called: string[] },
): Promise<string> {
  const items: DocumentItem[] = [];
  try {
    for (const [at, row] of rows.entries()) {
      await pauseIfLong(callerKey(caller));
      const { name, secret_id: secretId, version, encoding, content_type: type } = row;
      const bytes = asWritten(row, await openVersion(opening, { vault, name, secretId, version }, row));
      items.push({ name: called[at]!, value: { bytes, encoding, contentType: type ?? undefined } });
    }
    const pieces: string[] = [];
    for (const piece of formatDocument(format, items)) {
      await pauseIfLong(callerKey(caller));
      pieces.push(piece);
    }
    return withinLimit(pieces.join(''));
  } finally {
    for (const { value } of items) value.bytes.fill(0);
  }
}

function namesOf(rows: Row[], prefix: string | undefined, names: ExportRequest['names']): string[] {
  const secrets = rows.map(({ name }) => name);
  if (names === 'shell') return shellNames(secrets, prefix);
  return prefix === undefined ? secrets : secrets.map((name) => name.slice(prefix.length + 1));
}

function withinLimit(content: string): string {
  if (Buffer.byteLength(content) <= DOCUMENT_BYTES_MAX) return content;
  throw new AppError('too_large', `more than ${DOCUMENT_BYTES_MAX} bytes: export a prefix at a time`);
}

function exportOf({ vault, rule }: Allowed, prefix: string | undefined, count: number): EventFacts {
  const resource = { vault: vault.name, vaultId: vault.id, ...(prefix ? { name: prefix } : {}), count };
  return { action: 'secret.export', resource, rule };
}

function readingOf({ vault, rule }: Allowed, { name, version, ciphertext }: Row): EventFacts {
  const resource = { vault: vault.name, vaultId: vault.id, name, version };
  return { action: 'secret.read', resource, rule, dekVersion: envelopeKeyVersion(ciphertext) };
}
