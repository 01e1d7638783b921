import { fromHex, toBase64 } from '@cardea/crypto/encoding';
import { genesis } from '@cardea/crypto/hash-chain';
import { StartError } from '@cardea/process/config';
import type { StoredLog } from './config.ts';
import { openAuditDatabases } from './database.ts';
import { parseEntry } from './entry-row.ts';
import { readHead } from './entry-store.ts';
import { openQueryIndex } from './index/query-index.ts';
import { readLastSigned } from './sign/last-signed.ts';
import { verifyStored } from './sign/reread.ts';
import { openSigningKey } from './sign/signing-key.ts';
import { TreeHead } from './sign/tree-head.ts';

/** How long a log is, and how much of it the last checkpoint covers. */
export interface CheckedLog {
  size: number;
  signedSize: number;
  signedAt: string;
  /** That checkpoint, a signed note. */
  checkpoint: string;
}

/**
 * Reads every entry of a log and compares it with the chain, the tree and the last checkpoint. A start does so only for
 * what came after that checkpoint.
 * @throws StartError, FatalLogError that says what differs
 */
export async function checkLog(config: StoredLog): Promise<CheckedLog> {
  const { db, close } = await openAuditDatabases(config);
  try {
    const { key, vkey } = await openSigningKey(db, config.folder, config.origin);
    const last = await readLastSigned(config.folder, vkey);
    if (!last) throw new StartError('last-signed.json is missing.');
    const head = await readHead(db);
    if (head.size < last.size) throw new StartError(`${last.size} entries were signed, and it has ${head.size}.`);

    const rereading = { db, index: await openQueryIndex(db), parse: parseEntry };
    const empty = { tree: new TreeHead([]), chain: genesis(config.origin, key.publicKey) };
    const signed = await verifyStored(rereading, empty, { size: last.size, chain: fromHex(last.chain) });
    if (toBase64(signed.tree.root()) !== last.root) {
      throw new StartError(`its first ${last.size} entries are not those that were signed.`);
    }
    await verifyStored(rereading, signed, head);
    return { size: head.size, signedSize: last.size, signedAt: last.signedAt, checkpoint: last.note };
  } finally {
    await close();
  }
}
