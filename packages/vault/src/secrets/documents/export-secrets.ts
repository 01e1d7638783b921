import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { DOCUMENT_BYTES_MAX } from '@cardea/contracts/secrets/documents';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { envelopeKeyVersion } from '@cardea/crypto/envelope';
import type { Queryable } from '@cardea/storage/db';
import { authorizeAll } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { covers } from '../../decide.ts';
import { nameRanges } from '../../name-ranges.ts';
import type { NameRange } from '../../name-ranges.ts';
import { vaultNotThere } from '../../not-there.ts';
import { audited } from '../../record.ts';
import { noteReads } from '../lifecycle/last-reads.ts';
import { openVersion } from '../sealing.ts';
import { formatDocument } from './document.ts';
import type { DocumentFormat } from './document.ts';
import type { DocumentItem } from './document-item.ts';

export interface ExportRequest {
  format: DocumentFormat;
  /** The names in the document are relative to this prefix. */
  prefix?: string | undefined;
}

export interface Export {
  content: string;
  count: number;
}

/**
 * The newest values of a vault that the caller may read, as a document for `importSecrets`. The document shows all
 * names, so the caller also needs the right to list. A reference is exported as it is and not followed.
 * @throws AppError `not_found`, `access_denied`, `sealed`, `unavailable`; `too_large` for more than 1,000 secrets or
 * 4 MiB
 */
export async function exportSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault }: { vault: string },
  { format, prefix }: ExportRequest,
): Promise<Audited<Export>> {
  const allowed = await authorizeAll(ctx, caller, ['secret.read', 'secret.list'], { vault });
  const rows = await findReadableUnder(ctx, allowed, prefix);
  // The document is written before it is recorded: if it turns out too large, nobody has read anything.
  const content = await writeDocument(ctx, allowed, { format, prefix, rows });
  const facts = rows.map((row) => readingOf(allowed, row));
  const exported = { content, count: rows.length };
  const shown = await audited(ctx, caller, [exportOf(allowed, prefix, rows.length), ...facts], () => exported);
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
  ctx: VaultContext,
  { vault }: Allowed,
  { format, prefix, rows }: { format: DocumentFormat; prefix: string | undefined; rows: Row[] },
): Promise<string> {
  const items: DocumentItem[] = [];
  try {
    for (const row of rows) {
      const { name, secret_id: secretId, version, encoding, content_type: type } = row;
      const bytes = await openVersion(ctx, { vault, name, secretId, version }, row);
      items.push({ name: relative(name, prefix), value: { bytes, encoding, contentType: type ?? undefined } });
    }
    return withinLimit(formatDocument(format, items));
  } finally {
    for (const { value } of items) value.bytes.fill(0);
  }
}

function relative(name: string, prefix: string | undefined): string {
  return prefix === undefined ? name : name.slice(prefix.length + 1);
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
