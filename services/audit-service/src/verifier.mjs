#!/usr/bin/env node
// Checks an export of a Cardea audit log. It is one file for Node.js 18 or later without dependencies. It shares no
// code with the service that wrote the log and follows only the published formats, so that it checks the service too.
//
//   node verifier.mjs --key <verifier key> <folder or .tar> [--checkpoint <file>]... [--receipt <text or file>]... [--state <file>] [--previous <verifier key>]
//   node verifier.mjs --key <verifier key> --proof <file> --receipt <text or file> [--checkpoint <file>]...
//
// --checkpoint: checkpoints that you kept elsewhere, one or more in a file. Each of them counts.
// --receipt: the receipt of an answer, such as "seq=123 leaf=<base64>". Each of them counts.
// --state: what the database says of accounts, vaults, grants, secrets and keys, exported before the log. Compared with the log.
// --previous: the key of the log before this one, if an operator had to begin a new log. The first entry must name it, and
//   kept checkpoints of both count.
// --proof: instead of an export, a proof that the entry of a receipt is in the log (c2sp.org/tlog-proof).
//
// You supply the key. Never take it from the export. The exit code says what was found:
//    0  every entry is as signed               13  truncated: a checkpoint covers more entries
//    1  nothing to read, or nothing to compare 14  forked: two validly signed checkpoints disagree
//    2  wrong usage                            15  a signature is missing or wrong
//   10  modified                               16  reserved: an index column differs (not part of an export)
//   11  missing: sequence numbers are skipped  17  a receipt is for another entry, or its proof is wrong
//   12  repeated or backward sequence numbers      18  the database differs from the log
import { createHash, createPublicKey, verify } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const EXIT = {
  unreadable: 1,
  usage: 2,
  modified: 10,
  missing: 11,
  repeated: 12,
  truncated: 13,
  forked: 14,
  signature: 15,
  receipt: 17,
  state: 18,
};
const ENTRY_BYTES_MAX = 16 * 1024;
const SMALL_FILE_BYTES_MAX = 4 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;
const PEER = /^[a-z][a-z0-9-]{0,62}$/;
const HASH_HEX = /^[0-9a-f]{64}$/;
// A C2SP tlog-checkpoint: origin, size, root, an empty line, the signatures. In a file of several, empty lines may follow.
const CHECKPOINT = /([^\n]+\n(?:0|[1-9]\d{0,15})\n[A-Za-z0-9+/]{43}=\n\n(?:— [^\n]+\n)*)\n*/uy;
const RECEIPT = /^(?:Cardea-Receipt: *)?seq=(0|[1-9]\d{0,15}) leaf=(\S+)\s*$/i;
const PROOF =
  /^c2sp\.org\/tlog-proof@v1\n(?:extra [A-Za-z0-9+/]*={0,2}\n)?index (0|[1-9]\d{0,15})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n/;
const ENTRY_FILE = /^entries-(\d{1,16})-(\d{1,16})\.jsonl$/;

function main() {
  try {
    const { vkey, path, proofPath, heldPaths, receiptTexts, statePath, previousVkey } = parseArguments(
      process.argv.slice(2),
    );
    const key = parseVerifierKey(vkey);
    const previous = previousVkey === undefined ? undefined : parseVerifierKey(previousVkey);
    const kept = heldPaths.flatMap((file) =>
      openNotes(readWholeFile(file), [key, ...(previous ? [previous] : [])], file),
    );
    compareHeld(kept.filter((note) => note.key !== key));
    const held = kept.filter((note) => note.key === key);
    compareHeld(held);
    const receipts = receiptTexts.map(parseReceipt);
    const recorded = statePath === undefined ? undefined : new RecordedState(readState(statePath));
    if (proofPath === undefined) verifyExport(openArchive(path), key, { kept, held, receipts, recorded, previous });
    else verifyProof(readWholeFile(proofPath), key, { name: proofPath, held, receipt: receipts[0] });
  } catch (error) {
    const known = error instanceof Finding;
    process.stderr.write(known ? `${error.title}: ${error.message}\n` : `UNREADABLE: ${error.message}\n`);
    process.exitCode = known ? error.exitCode : EXIT.unreadable;
  }
}

const USAGE = `usage: node verifier.mjs --key <verifier key> <folder or .tar> [--checkpoint <file>]... [--receipt <text or file>]... [--state <file>] [--previous <verifier key>]
       node verifier.mjs --key <verifier key> --proof <file> --receipt <text or file> [--checkpoint <file>]...`;

function parseArguments(args) {
  if (args.includes('--help')) {
    say(USAGE);
    process.exit(0);
  }
  const options = { '--key': [], '--checkpoint': [], '--receipt': [], '--proof': [], '--state': [], '--previous': [] };
  const paths = [];
  for (let i = 0; i < args.length; i += 1) {
    if (!args[i].startsWith('-')) paths.push(args[i]);
    else if (!Object.hasOwn(options, args[i])) throw wrongUsage(`there is no option ${args[i]}`);
    else if (args[i + 1] === undefined || args[i + 1].startsWith('--')) throw wrongUsage(`${args[i]} needs a value`);
    else options[args[i]].push(args[(i += 1)]);
  }
  const { '--key': keys, '--checkpoint': heldPaths, '--receipt': receiptTexts, '--proof': proofs } = options;
  const { '--state': states, '--previous': previousKeys } = options;
  if (keys.length !== 1) throw wrongUsage('give the verifier key once');
  if (proofs.length > 1 || paths.length + proofs.length !== 1) throw wrongUsage('give one export, or one proof');
  if (proofs.length === 1 && receiptTexts.length !== 1) throw wrongUsage('a proof needs the receipt that it is about');
  if (states.length > 1 || states.length + proofs.length > 1) throw wrongUsage('give one state, with an export');
  if (previousKeys.length > 1 || previousKeys.length + proofs.length > 1)
    throw wrongUsage('give one previous key, with an export');
  return {
    previousVkey: previousKeys[0]?.trim(),
    vkey: keys[0].trim(),
    path: paths[0],
    proofPath: proofs[0],
    heldPaths,
    receiptTexts,
    statePath: states[0],
  };
}

function wrongUsage(message) {
  return new Finding('usage', EXIT.usage, `${message}\n${USAGE}`);
}

function verifyExport(archive, key, { kept, held, receipts, recorded, previous }) {
  const checkpoint = openNote(archive.read('checkpoint'), [key], 'checkpoint');
  say(`checkpoint   ${checkpoint.size} entries, root ${checkpoint.root.toString('base64')}, signature good`);
  compareHeads(checkpoint, held);

  const range = readRange(archive, key, checkpoint);
  const manifest = checkManifest(archive, key, checkpoint, range);
  const { roots, leaves } = readEntries(archive, key, { range, checkpoint, held, receipts, recorded, previous });
  checkFileList(archive, manifest);
  compareRoot(roots.get(checkpoint.size), checkpoint, { range, held, roots });
  compareReceipts(receipts, leaves, range);
  if (previous) compareWithPrevious(previous, kept);
  // Last: what the entries say counts once they are known to be those that were signed.
  recorded?.takeAll(archive);
  recorded?.compare(range);
  say(`OK: ${range.to - range.from} entries, ${range.from} to ${range.to - 1}, are as signed`);
}

/** Two checkpoints of one size must agree. The others are compared with the entries. */
function compareHeld(held) {
  const first = new Map();
  for (const { size, root, name } of held) {
    say(`held         ${size} entries, root ${root.toString('base64')}, signature good (${name})`);
    const known = first.get(size) ?? { root, name };
    first.set(size, known);
    if (known.root.equals(root)) continue;
    throw finding('forked', `${known.name} and ${name} both sign ${size} entries, with different roots`);
  }
}

/** Compares signed notes without reading the entries. */
function compareHeads(checkpoint, held) {
  for (const { size, root, name } of held) {
    if (size === checkpoint.size && !root.equals(checkpoint.root)) {
      throw finding('forked', `the export and ${name} both sign ${size} entries, with different roots`);
    }
    if (size > checkpoint.size) {
      throw finding(
        'truncated',
        `${name} signs ${size} entries, and the export only ${checkpoint.size}: first missing entry ${checkpoint.size}`,
      );
    }
  }
}

/** A receipt as the header of an answer, or a file with that text. */
function parseReceipt(given) {
  const text = existsSync(given) ? readWholeFile(given).toString('utf8') : given;
  const [, seq, encoded] = RECEIPT.exec(text) ?? [];
  const leaf = decodeBase64(encoded, 32);
  if (!leaf || !isCount(Number(seq))) throw wrongUsage('a receipt is seq=<number> leaf=<base64>, or a file with that');
  return { seq: Number(seq), leaf };
}

function compareReceipts(receipts, leaves, range) {
  for (const { seq, leaf } of receipts) {
    const found = leaves.get(seq);
    if (!found) {
      throw new Error(`a receipt for entry ${seq} cannot be compared with ${range.from} to ${range.to}: export more`);
    }
    if (!found.equals(leaf)) throw finding('receipt', `entry ${seq} is not the one that the receipt is for`);
    say(`receipt      entry ${seq} is the one that the receipt is for`);
  }
}

/** Checks a C2SP tlog-proof: the entry of the receipt is in the log that the checkpoint of the proof signs. */
function verifyProof(bytes, key, { name, held, receipt }) {
  const text = bytes.toString('utf8');
  const [head, index, lines] = PROOF.exec(text) ?? [];
  if (head === undefined) throw finding('receipt', `${name} is not a proof (c2sp.org/tlog-proof@v1)`);
  const checkpoint = openNote(Buffer.from(text.slice(head.length)), [key], `${name}, its checkpoint`);
  say(`checkpoint   ${checkpoint.size} entries, root ${checkpoint.root.toString('base64')}, signature good`);
  for (const { size, root, name: other } of held) {
    if (size !== checkpoint.size) throw new Error(`${other} signs ${size} entries: a proof cannot be compared with it`);
    if (!root.equals(checkpoint.root)) throw finding('forked', `${name} and ${other} sign other entries`);
  }
  if (Number(index) !== receipt.seq) throw finding('receipt', `the proof is about entry ${index}, not ${receipt.seq}`);
  const hashes = lines
    .split('\n')
    .slice(0, -1)
    .map((line) => decodeBase64(line, 32));
  const root = hashes.every(Boolean) ? rootFrom({ ...receipt, size: checkpoint.size, hashes }) : undefined;
  if (!root?.equals(checkpoint.root)) {
    throw finding('receipt', `the proof does not lead from the receipt for entry ${receipt.seq} to the signed root`);
  }
  say(`OK: the entry of the receipt is entry ${receipt.seq} of the ${checkpoint.size} that are signed`);
}

/** The root that an inclusion proof leads to, RFC 9162 section 2.1.3.2. Undefined if its length is wrong. */
function rootFrom({ seq, size, leaf, hashes }) {
  if (seq >= size) return undefined;
  let [node, last, hash] = [seq, size - 1, leaf];
  for (const sibling of hashes) {
    if (last === 0) return undefined;
    // A last node without a right sibling also stands for its parents, up to the level where it is a right child.
    while (node === last && node % 2 === 0) [node, last] = [node / 2, last / 2];
    const isRight = node % 2 === 1;
    hash = isRight ? sha256(Buffer.of(1), sibling, hash) : sha256(Buffer.of(1), hash, sibling);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 ? hash : undefined;
}

/** The last checkpoint of the previous log, as the first entry of this one names it. */
function readSuccession({ event }, key, previous) {
  const { verifierKey = {}, checkpoint = {}, endorsement = {} } = event.changes ?? {};
  if (event.action !== 'audit.begin' || verifierKey.from !== previous.vkey || verifierKey.to !== key.vkey) {
    throw finding('forked', 'the first entry does not say that this log follows the log of the given previous key');
  }
  const last = openNote(
    Buffer.from(String(checkpoint.from)),
    [previous],
    'the checkpoint of the previous log in entry 0',
  );
  const statement = `cardea/audit/succession/v1\n${previous.vkey}\n${key.vkey}\n${checkpoint.from}`;
  const signature = decodeBase64(endorsement.to, 64);
  if (endorsement.to !== undefined && !(signature && isSignedBy(previous, statement, signature))) {
    throw finding('signature', 'the previous key has not signed the key of this log, although entry 0 says so');
  }
  const by = signature ? 'signed by the previous key' : 'NOT signed by the previous key: ask the operator why';
  say(`succession   this log follows one of ${last.size} entries, ${by}`);
  say(`reason       ${quote(String(event.reason))}`);
  return last;
}

/** Compares what was kept of the previous log with its end as this log names it. */
function compareWithPrevious({ last }, kept) {
  if (!last) throw new Error('entry 0, which names the previous log, is not in this export: export the whole log');
  for (const { size, root, name } of kept.filter(({ key }) => key.last)) {
    if (size > last.size) {
      throw finding(
        'truncated',
        `${name} signs ${size} entries of the previous log, and this log names only ${last.size}`,
      );
    }
    if (size === last.size && !root.equals(last.root)) {
      throw finding(
        'forked',
        `${name} and entry 0 both name ${size} entries of the previous log, with different roots`,
      );
    }
    if (size < last.size)
      say(`note         ${name} signs ${size} entries of the previous log: check it with an export of that log`);
  }
}

/** Reads the state of the database (GET /api/v1/audit/state). Its last line says that it is whole. */
function readState(path) {
  const lines = [...linesOf({ path, start: 0, bytes: statSync(path).size }, SMALL_FILE_BYTES_MAX)].map((line, i) => {
    const value = parseStateLine(line);
    if (!isObject(value)) throw new Error(`${path}, line ${i + 1}, is not a state of the database`);
    return value;
  });
  const [first, last] = [lines.shift(), lines.pop()];
  if (first?.kind !== 'state' || first.v !== 1 || !isCount(first.seq))
    throw new Error(`${path} is not a state (version 1)`);
  if (last?.kind !== 'end' || last.count !== lines.length) throw new Error(`${path} is not whole: get it again`);
  const unknown = lines.find((line) => !isRecordedObject(line));
  if (unknown) throw new Error(`${path} has a ${unknown.kind}, which this verifier does not know`);
  return { seq: first.seq, recordsWait: last.recordsWait === true, objects: lines };
}

function isRecordedObject({ kind, vaultId = '', id, fields }) {
  return Object.hasOwn(STATE_FIELDS, kind) && typeof vaultId === 'string' && typeof id === 'string' && isObject(fields);
}

function parseStateLine(line) {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
}

// The fields of each kind whose changes the log records. Of a secret, also its metadata; of a key, the state of each version.
const STATE_FIELDS = {
  user: ['role', 'disabled', 'totp', 'mustChangePassword', 'expiresAt'],
  application: ['description', 'allowedCidrs', 'disabled', 'expiresAt'],
  vault: ['name', 'description', 'maxVersions', 'publicJwks'],
  grant: ['owner', 'secrets', 'keys', 'pathPrefix', 'keyPrefix', 'allowedCidrs', 'expiresAt'],
  secret: ['version', 'inTrash', 'maxVersions', 'expiresAt'],
  key: [
    'algorithm',
    'exportable',
    'derivation',
    'publicOnly',
    'currentVersion',
    'minEncryptVersion',
    'minDecryptVersion',
    'deletionProtection',
    'deleteAt',
    'rotationPeriodSeconds',
  ],
};
// What a new key has if its record does not say otherwise.
const NEW_KEY = {
  exportable: false,
  publicOnly: false,
  minEncryptVersion: 1,
  minDecryptVersion: 1,
  deletionProtection: false,
};
const OWNERSHIP = { owner: true, secrets: [], keys: [], allowedCidrs: [] };
const SHOWN_DIFFERENCES_MAX = 1000;

/**
 * What the entries say that the database has, compared with what it has. Memory grows with what there is in the
 * database, with the ids of deleted vaults, and with the records that were late.
 *
 * A record that could not be sent at once stands in the log after those of later changes. Its id (UUIDv7) was made in the
 * change, with the time. So changes are taken in the order of their ids: the entries are read once to find the late ones,
 * and once more to take each in its place.
 *
 * Rows were read one after the other while Cardea ran. Each must be as the log has it at some moment from entry `seq` on,
 * when the reading began. So a change meanwhile is no difference, and an older state is one.
 */
class RecordedState {
  constructor({ seq, recordsWait, objects }) {
    this.seq = seq;
    this.recordsWait = recordsWait;
    this.objects = new Map();
    this.deletedVaults = new Set();
    this.late = [];
    this.newest = '';
    for (const { kind, vaultId, id, fields } of objects) {
      const one = this.find({ kind, vaultId, id });
      // Two rows of one name: the database itself would not have them.
      one.twice = one.found !== undefined;
      one.found = new Map(Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value)]));
    }
  }

  /** The objects of a kind, in one vault if it has vaults. */
  all(kind, vaultId = '') {
    const group = `${kind} ${vaultId}`;
    if (!this.objects.has(group)) this.objects.set(group, new Map());
    return this.objects.get(group);
  }

  find({ kind, vaultId, id }) {
    const group = this.all(kind, vaultId);
    if (!group.has(id)) group.set(id, { kind, vaultId, id, fields: new RecordedFields(), matched: false });
    return group.get(id);
  }

  /** Keeps a change that stands in the log after a later one. */
  noteIfLate({ seq, event }) {
    if (!isChange(event)) return;
    if (event.id > this.newest) this.newest = event.id;
    else this.late.push({ seq, event });
  }

  /** Takes every change of the entries, which are checked already, in the order of the ids. */
  takeAll(archive) {
    const late = this.late.sort((a, b) => (a.event.id < b.event.id ? -1 : 1));
    let [next, newest] = [0, ''];
    for (const { line } of entryLines(archive)) {
      const entry = JSON.parse(line.toString('utf8'));
      if (!isChange(entry.event) || entry.event.id <= newest) continue;
      newest = entry.event.id;
      for (; late[next]?.event.id <= newest; next += 1) this.take(late[next]);
      this.take(entry);
    }
  }

  take({ seq, event }) {
    const { action, resource = {} } = event;
    const [noun] = action.split('.');
    if (noun === 'user' || noun === 'auth') this.takeUser(seq, event);
    else if (noun === 'application') this.takeApplication(seq, event);
    else if (noun === 'vault') this.takeVault(seq, event);
    else if (noun === 'grant') this.takeGrant(seq, event);
    else if (noun === 'secret' && !this.deletedVaults.has(resource.vaultId)) this.takeSecret(seq, event);
    else if (noun === 'key' && !this.deletedVaults.has(resource.vaultId)) this.takeKey(seq, event);
  }

  takeUser(seq, { action, actor, changes, resource = {} }) {
    // Who changes their own password or TOTP is the actor.
    const id = action.startsWith('auth.') ? actor.name : resource.user;
    if (!changes || id === undefined) return;
    this.change(seq, { kind: 'user', id }, (fields) => fields.take(changes));
    if (action === 'user.delete') this.endGrantsTo(seq, `user:${id}`);
  }

  takeApplication(seq, { action, changes, resource: { application: id } = {} }) {
    if (!changes) return;
    this.change(seq, { kind: 'application', id }, (fields) => fields.take(changes));
    if (action === 'application.delete') this.endGrantsTo(seq, `application:${id}`);
  }

  takeVault(seq, { action, actor, changes, resource: { vault: name, vaultId, user } = {} }) {
    const vault = { kind: 'vault', id: vaultId };
    if (action === 'vault.create') {
      this.change(seq, vault, (fields) => fields.take({ ...changes, name: { to: name } }));
      const owner = { kind: 'grant', vaultId, id: `${actor.type}:${actor.name}` };
      this.change(seq, owner, (fields) => fields.take(changesTo(OWNERSHIP)));
    } else if (action === 'vault.handOver') {
      // Replaces the grant of the heir. The record does not have its fields.
      this.change(seq, { kind: 'grant', vaultId, id: `user:${user}` }, (fields) => fields.set(OWNERSHIP));
    } else if (action === 'vault.delete') {
      this.deletedVaults.add(vaultId);
      const inside = ['grant', 'secret', 'key'].flatMap((kind) => [...this.all(kind, vaultId).values()]);
      for (const one of [vault, ...inside]) {
        this.change(seq, one, (fields) => fields.set({}));
      }
    } else if (changes) {
      this.change(seq, vault, (fields) => fields.take(changes));
    }
  }

  takeGrant(seq, { changes, resource: { vaultId, user, application } = {} }) {
    if (!changes || this.deletedVaults.has(vaultId)) return;
    const id = user === undefined ? `application:${application}` : `user:${user}`;
    this.change(seq, { kind: 'grant', vaultId, id }, (fields) => fields.take(changes));
  }

  endGrantsTo(seq, principal) {
    for (const [group, grants] of this.objects) {
      if (group.startsWith('grant ') && grants.has(principal)) {
        this.change(seq, grants.get(principal), (fields) => fields.set({}));
      }
    }
  }

  takeSecret(seq, { action, changes = {}, resource = {}, rule }) {
    const { vaultId, name: id, version } = resource;
    const change = (edit) => this.change(seq, { kind: 'secret', vaultId, id }, edit);
    if (action === 'secret.move') this.moveSecrets(seq, resource);
    else if (action === 'secret.purge') change((fields) => fields.purge(version));
    else if (action === 'secret.restore') change((fields) => fields.restore());
    // A limit of versions takes older ones away, and not the secret.
    else if (action === 'secret.delete' && rule !== 'max-versions') change((fields) => fields.trash());
    else if (action === 'secret.destroy' && rule !== 'max-versions') change((fields) => fields.destroy(version));
    else if (action === 'secret.update') change((fields) => fields.update(changes, version));
    else if (SECRET_WRITES.has(action)) change((fields) => fields.write(changes, version));
  }

  takeKey(seq, { action, changes = {}, resource: { vaultId, name: id, keyVersion } = {} }) {
    this.change(seq, { kind: 'key', vaultId, id }, (fields) => {
      if (action === 'key.destroy') fields.set({});
      else if (action === 'key.changeVersion') fields.take({ [`state.${keyVersion}`]: changes.state ?? {} });
      else if (NEW_KEY_VERSION.has(action)) fields.addKeyVersion(changes, keyVersion);
      else fields.take(changes);
    });
  }

  /** A record with a count is about the secret of that name and all under it. */
  moveSecrets(seq, { vaultId, name, toVaultId, toName, count }) {
    const isMoved = (id) => id === name || (count !== undefined && id.startsWith(`${name}/`));
    const moved = [...this.all('secret', vaultId).values()].filter(({ id }) => isMoved(id));
    const taken = moved.map(({ id, fields }) => ({ id, fields: fields.fork() }));
    for (const one of moved) this.change(seq, one, (fields) => fields.set({}));
    for (const { id, fields } of taken) {
      if (!fields.isSet('version')) continue;
      const to = { kind: 'secret', vaultId: toVaultId, id: `${toName}${id.slice(name.length)}` };
      this.change(seq, to, (before) => before.become(fields));
    }
  }

  /** Changes an object. If it was read meanwhile, it may be as before, or as after. */
  change(seq, ref, edit) {
    const one = this.find(ref);
    const isMeanwhile = seq >= this.seq;
    // What was recorded before the reading was read. A late record of an earlier change must not excuse an older state.
    one.matched = isMeanwhile && (one.matched || differencesOf(one).length === 0);
    edit(one.fields);
    one.seq = seq;
    if (isMeanwhile) one.matched ||= differencesOf(one).length === 0;
    if (!one.found && one.fields.isBlank()) this.forget(one);
  }

  forget({ kind, vaultId = '', id }) {
    const group = this.all(kind, vaultId);
    group.delete(id);
    if (group.size === 0) this.objects.delete(`${kind} ${vaultId}`);
  }

  /** Throws a finding that names each difference, if the database is not as the entries say. */
  compare({ from, to }) {
    if (from > 0) throw new Error('a state of the database can only be compared with the whole log: export all of it');
    if (this.seq >= to) throw new Error(`the state was read at entry ${this.seq}: export the log after the state`);
    const all = [...this.objects.values()].flatMap((group) => [...group.values()]);
    const found = all.filter(({ found }) => found).length;
    const wrong = all.flatMap((one) => {
      const differences = one.matched ? [] : differencesOf(one);
      return differences.map((difference) => `${this.nameOf(one)}: ${difference}${lastEntry(one)}`);
    });
    if (wrong.length === 0) return say(`state        ${found} objects of the database are as the log says`);
    if (this.recordsWait)
      say('note         records wait to be sent to the log: what they are about may differ only for now');
    const more = wrong.length - SHOWN_DIFFERENCES_MAX;
    if (more > 0) wrong.splice(SHOWN_DIFFERENCES_MAX, more, `and ${more} more`);
    throw new Finding('database differs', EXIT.state, wrong.join('\n'));
  }

  nameOf({ kind, vaultId, id: name }) {
    // What somebody has written into the database must not steer a terminal.
    const id = /^[\x21-\x7e]+$/.test(name) ? name : JSON.stringify(name);
    if (kind === 'user' || kind === 'application') return `${kind} ${id}`;
    const { fields, found } = this.find({ kind: 'vault', id: vaultId ?? name });
    const vault = `vault ${fields.expected('name') ?? found?.get('name') ?? ''} (${vaultId ?? id})`;
    return kind === 'vault' ? vault : `${kind} ${id} in ${vault}`;
  }
}

const SECRET_WRITES = new Set(['secret.write', 'secret.generate', 'secret.rollback']);
const NEW_KEY_VERSION = new Set(['key.create', 'key.import', 'key.rotate']);
const RECORDED_ACTION = /^(?:user|auth|application|vault|grant|secret|key)\./;
/** Actions that change something also if their record has no `changes`. */
const CHANGING_ACTION =
  /^(?:vault\.(?:create|handOver|delete)|secret\.(?:move|purge|restore|delete|destroy|write|generate|rollback)|key\.(?:rotate|destroy))$/;

/** Whether an event may have changed something that the state of the database has. */
function isChange({ action, decision, reason, changes }) {
  if (decision !== 'allow' || reason === 'dry run' || !RECORDED_ACTION.test(action)) return false;
  return changes !== undefined || CHANGING_ACTION.test(action);
}

function isUnset(values) {
  return values.size === 1 && values.get(undefined) === 1;
}

function lastEntry({ seq }) {
  return seq === undefined ? '' : ` (its last entry is ${seq})`;
}

function changesTo(fields) {
  return Object.fromEntries(Object.entries(fields).map(([name, to]) => [name, { to }]));
}

/** How an object of the database differs from what the entries say of it, in words. */
function differencesOf({ kind, fields, found, twice }) {
  if (twice) return ['it is there twice'];
  const isRecorded = STATE_FIELDS[kind].some((name) => fields.isSet(name));
  if (!found) return isRecorded ? ['it is missing in the database'] : [];
  if (!isRecorded) return ['it is in the database, and the log does not have it'];
  // Only its version is known of a secret in the trash.
  const isPart = kind === 'secret' && found.has('inTrash') && fields.isSet('inTrash');
  const names = isPart ? ['version', 'inTrash'] : new Set([...found.keys(), ...fields.names(kind)]);
  return [...names].flatMap((name) => {
    if (fields.isUnknown(name)) return [];
    const [is, expected] = [found.get(name), fields.expected(name)];
    if (fields.neverSet(name)) return [`${name} was changed from ${fields.neverSet(name)}, which no entry had set`];
    return is === expected ? [] : [`${name} is ${is ?? 'not set'}, and by the log ${expected ?? 'not set'}`];
  });
}

/**
 * The fields of an object as its entries have changed them. Two changes of different services may stand in the log in
 * another order than they were made. So a field is not what its last entry says: it is the value that was set once more
 * often than it was replaced. If another value was replaced than had been set, somebody has changed the row by hand.
 */
class RecordedFields {
  counts = new Map();
  unknown = new Set();
  isCut = false;

  fork() {
    const copy = new RecordedFields();
    copy.become(this);
    return copy;
  }

  become({ counts, unknown, isCut }) {
    this.counts = new Map([...counts].map(([name, values]) => [name, new Map(values)]));
    this.unknown = new Set(unknown);
    this.isCut = isCut;
  }

  /** Begins anew, with these values. */
  set(values) {
    this.become(new RecordedFields());
    this.take(changesTo(values));
  }

  take(changes) {
    for (const [name, { from, to }] of Object.entries(changes)) {
      // More fields have changed than the record has room for.
      if (/^\+\d+$/.test(name)) this.isCut = true;
      this.count(name, from, -1);
      this.count(name, to, 1);
    }
  }

  count(name, value, by) {
    // Every field begins as not set.
    if (!this.counts.has(name)) this.counts.set(name, new Map([[undefined, 1]]));
    const [values, text] = [this.counts.get(name), value === undefined ? undefined : JSON.stringify(value)];
    const count = (values.get(text) ?? 0) + by;
    if (count === 0) values.delete(text);
    else values.set(text, count);
  }

  names(kind) {
    return [...this.counts.keys()].filter(
      (name) => STATE_FIELDS[kind].includes(name) || /^(?:metadata|state)\./.test(name),
    );
  }

  expected(name) {
    const [value] = [...(this.counts.get(name) ?? [])].find(([, count]) => count > 0) ?? [];
    return value;
  }

  /** Whether it says no more than what has never been there. */
  isBlank() {
    return !this.isCut && this.unknown.size === 0 && [...this.counts.values()].every(isUnset);
  }

  isSet(name) {
    return this.expected(name) !== undefined;
  }

  /** A value that was replaced, and that no entry has set. */
  neverSet(name) {
    const [value, count] = [...(this.counts.get(name) ?? [])].find(([, times]) => times < 0) ?? [];
    return count === undefined ? undefined : (value ?? 'not set');
  }

  isUnknown(name) {
    return this.unknown.has(name) || (this.isCut && name !== 'version');
  }

  assign(name, to) {
    this.counts.delete(name);
    this.count(name, undefined, -1);
    this.count(name, to, 1);
  }

  get version() {
    return Number(this.expected('version') ?? 0);
  }

  write(changes, version) {
    // A name in the trash starts afresh.
    if (this.isSet('inTrash')) this.set({ version: this.version });
    this.takeKnown(changes);
    this.assign('version', Math.max(this.version, version));
  }

  /** With a version, the change is the expiry of that version alone, which may be that of the secret. */
  update(changes, version) {
    if (version === undefined) return this.takeKnown(changes);
    const { expiresAt, ...others } = changes;
    this.take(others);
    if (expiresAt) this.unknown.add('expiresAt');
  }

  /** An expiry that was not known is known again once a record has it. */
  takeKnown(changes) {
    this.take(changes);
    if (changes.expiresAt && this.unknown.delete('expiresAt')) this.assign('expiresAt', changes.expiresAt.to);
  }

  /** The record of a first version has the algorithm. That of a later one has no more than its number. */
  addKeyVersion(changes, version) {
    if (changes.algorithm) this.set(NEW_KEY);
    const newest = Math.max(version, Number(this.expected('currentVersion') ?? 0));
    for (const [name, { to }] of Object.entries(changes)) this.assign(name, to);
    this.assign('currentVersion', newest);
    this.take({ [`state.${version}`]: { to: 'enabled' } });
  }

  trash() {
    this.assign('inTrash', true);
  }

  // The expiry of a restored secret is that of its versions, which the record does not have.
  restore() {
    this.assign('inTrash', undefined);
    this.unknown.add('expiresAt');
  }

  destroy(version) {
    if (version === this.version) this.unknown.add('expiresAt');
  }

  /** Older versions leave the trash by themselves, and the secret stays. */
  purge(version = this.version) {
    if (version >= this.version) this.set({});
  }
}

/** Reads the range that the export claims to contain and, for a part of the log, the hashes around it. */
function readRange(archive, key, checkpoint) {
  const whole = { from: 0, to: checkpoint.size, prev: genesis(key), left: [], right: [] };
  if (!archive.has('range.json')) return whole;

  const raw = parseSmallJson(archive, 'range.json');
  const { from, to } = raw;
  if (
    raw.v !== 1 ||
    !isCount(from) ||
    !isCount(to) ||
    from > to ||
    to > checkpoint.size ||
    raw.size !== checkpoint.size
  ) {
    throw finding('modified', 'range.json does not name a range of the log that the checkpoint signs');
  }
  const prev = typeof raw.prev === 'string' && HASH_HEX.test(raw.prev) ? Buffer.from(raw.prev, 'hex') : undefined;
  if (!prev || (from === 0 && !prev.equals(whole.prev))) throw finding('modified', 'range.json: prev is wrong');
  return { from, to, prev, left: readHashes(raw.left, 0, from), right: readHashes(raw.right, to, checkpoint.size) };
}

/** Checks that the list is exactly the largest aligned subtrees that fill [from, to). */
function readHashes(list, from, to) {
  const expected = alignedSubtrees(from, to);
  if (!Array.isArray(list) || list.length !== expected.length) {
    throw finding('modified', `range.json does not cover ${from} to ${to}`);
  }
  return expected.map((subtree, i) => {
    const hash = decodeBase64(list[i]?.hash, 32);
    if (list[i]?.from !== subtree.from || list[i]?.to !== subtree.to || !hash) {
      throw finding('modified', `range.json does not cover ${subtree.from} to ${subtree.to}`);
    }
    return { leaves: subtree.to - subtree.from, hash };
  });
}

function alignedSubtrees(from, to) {
  const subtrees = [];
  for (let at = from; at < to;) {
    let leaves = 1;
    while (at % (leaves * 2) === 0 && at + leaves * 2 <= to) leaves *= 2;
    subtrees.push({ from: at, to: at + leaves });
    at += leaves;
  }
  return subtrees;
}

/** Compares the manifest, which is not signed, with the signed parts. */
function checkManifest(archive, key, checkpoint, range) {
  const manifest = parseSmallJson(archive, 'manifest.json');
  const agrees =
    manifest.v === 1 &&
    manifest.origin === key.origin &&
    manifest.size === checkpoint.size &&
    manifest.from === range.from &&
    manifest.to === range.to &&
    TIME.test(manifest.madeAt);
  if (!agrees) throw finding('modified', 'manifest.json does not agree with the checkpoint and the range');
  return manifest;
}

/** Runs after the check of the entries, because a missing entry says more than a missing file. */
function checkFileList(archive, manifest) {
  const names = archive.entryFiles().map(([name]) => name);
  if (JSON.stringify(manifest.files) === JSON.stringify(names)) return;
  throw finding('modified', 'manifest.json does not list the files of the export');
}

/** Reads every entry in order. Returns the roots at all signed sizes, and the leaves that receipts are for. */
function readEntries(archive, key, { range, checkpoint, held, receipts, recorded, previous }) {
  const tree = new TreeHead(range.left);
  const sizes = new Set([checkpoint.size, ...held.map(({ size }) => size)]);
  const wanted = new Set(receipts.map(({ seq }) => seq));
  const [roots, leaves] = [new Map(), new Map()];
  const noteRoot = (size) => sizes.has(size) && roots.set(size, tree.root());
  const state = { next: range.from, chain: range.prev, writtenAt: '' };
  noteRoot(state.next);
  for (const { line, file } of entryLines(archive)) {
    const entry = checkEntry(line, file, key, state);
    if (state.next >= range.to) throw finding('modified', `entry ${state.next} is beyond the signed or exported range`);
    const hash = sha256(Buffer.of(0), line);
    tree.append({ leaves: 1, hash });
    if (state.next === 0 && previous) previous.last = readSuccession(entry, key, previous);
    else if (state.next === 0 && entry.event.action === 'audit.begin') {
      say('note         this log follows another one: give the key of that log with --previous');
    }
    if (entry.event.action === 'audit.restore' && entry.peer === 'audit-service') sayRestored(entry);
    recorded?.noteIfLate(entry);
    if (wanted.has(state.next)) leaves.set(state.next, hash);
    state.chain = sha256('cardea/audit/chain/v1\n', line);
    state.next += 1;
    noteRoot(state.next);
  }
  if (state.next < range.to) {
    throw finding('truncated', `entries end before ${range.to}: first missing entry ${state.next}`);
  }
  for (const subtree of range.right) tree.append(subtree);
  noteRoot(checkpoint.size);
  return { roots, leaves };
}

/** Who kept a newer checkpoint finds TRUNCATED or FORKED, and here what the operator says about it. */
function sayRestored({ seq, event }) {
  const { madeAt = {}, size = {}, by = {} } = event.changes ?? {};
  const of = `a backup of ${quote(String(madeAt.to))} with ${quote(String(size.to))} entries`;
  say(
    `restored     entry ${seq}: ${of} was restored at ${quote(String(event.ts))} by ${quote(String(by.to))}; what followed it is lost`,
  );
}

/** Checks a line against the previous one. Returns its entry. Throws the finding. */
function checkEntry(line, file, key, state) {
  const entry = parseEntry(line, `${file}, expected entry ${state.next}`);
  const linked = entry.prev === state.chain.toString('hex');
  if (entry.log !== key.origin) throw finding('modified', `entry ${state.next} belongs to another log`);
  // An entry that links to the previous one is in its place. So only its number was changed, and nothing is missing.
  if (entry.seq !== state.next && linked) {
    throw finding('modified', `entry ${state.next} carries the number ${entry.seq}`);
  }
  if (entry.seq > state.next) {
    throw finding(
      'missing',
      `entry ${entry.seq} stands where ${state.next} belongs: first missing entry ${state.next}`,
    );
  }
  if (entry.seq < state.next) {
    throw finding('repeated', `entry ${entry.seq} is repeated or late, where ${state.next} belongs`);
  }
  if (!linked) throw brokenLink(state.next, file);
  // Only a note: the signature does not vouch for the clock of the service.
  if (entry.writtenAt < state.writtenAt) say(`note         the clock went backwards before entry ${state.next}`);
  state.writtenAt = entry.writtenAt;
  return entry;
}

function brokenLink(seq, file) {
  if (seq === 0) return finding('modified', `entry 0 (${file}) does not begin this log: its prev is not the genesis`);
  return finding('modified', `entry ${seq - 1}, or the prev of entry ${seq} (${file}): the chain breaks between them`);
}

function parseEntry(line, where) {
  let entry;
  try {
    if (line.length > ENTRY_BYTES_MAX) throw new Error(`is longer than ${ENTRY_BYTES_MAX} bytes`);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
    entry = JSON.parse(text);
    if (canonicalize(entry) !== text) throw new Error('is not in canonical form');
  } catch (error) {
    throw finding('modified', `${where}: ${error.message}`);
  }
  const wellFormed =
    isObject(entry) &&
    Object.keys(entry).join() === 'event,log,peer,prev,seq,v,writtenAt' &&
    isObject(entry.event) &&
    typeof entry.event.id === 'string' &&
    typeof entry.peer === 'string' &&
    PEER.test(entry.peer) &&
    HASH_HEX.test(entry.prev) &&
    isCount(entry.seq) &&
    entry.v === 1 &&
    TIME.test(entry.writtenAt);
  if (!wellFormed) throw finding('modified', `${where}: is not an entry of version 1`);
  return entry;
}

/** RFC 8785 with the restrictions of the log: no null, no fractions, ASCII keys, whole surrogate pairs. */
function canonicalize(value) {
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value);
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`;
  if (!isObject(value)) throw new Error('contains a value that the log does not allow');
  const members = Object.keys(value)
    .sort()
    .map((name) => {
      // eslint-disable-next-line no-control-regex -- ASCII includes control characters
      if (!/^[\x00-\x7f]*$/.test(name)) throw new Error('contains a key that is not ASCII');
      return `${quote(name)}:${canonicalize(value[name])}`;
    });
  return `{${members.join(',')}}`;
}

function quote(text) {
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text)) {
    throw new Error('contains half a surrogate pair');
  }
  return JSON.stringify(text);
}

/** Checks that the entries, which are read and linked by now, are those that were signed. */
function compareRoot(root, checkpoint, { range, held, roots }) {
  if (!root.equals(checkpoint.root)) {
    const agreeing = held.filter((one) => roots.get(one.size)?.equals(one.root)).map(({ size }) => size);
    const good = Math.max(range.from, ...agreeing);
    throw finding(
      'modified',
      `the chain is whole but its root is ${root.toString('base64')}: an entry from ${good} to ${range.to - 1} was changed and` +
        ` all entries after it were written again (if there are none, it is entry ${range.to - 1}), or the hashes around the` +
        ' range were changed',
    );
  }
  say('root         the entries give the signed root');
  for (const { size, root: heldRoot, name } of held) {
    if (!roots.has(size)) {
      throw new Error(
        `${name} signs ${size} entries and cannot be compared with ${range.from} to ${range.to}: export more`,
      );
    }
    if (!roots.get(size).equals(heldRoot)) {
      throw finding(
        'forked',
        `both checkpoints are signed, but the first ${size} entries are not those that ${name} signs`,
      );
    }
    say(`held         its ${size} entries are the first ${size} of this log (${name})`);
  }
}

/** An RFC 6962 tree as its complete subtrees, the largest first. */
class TreeHead {
  constructor(subtrees) {
    this.subtrees = [...subtrees];
  }

  append(subtree) {
    let last = subtree;
    while (this.subtrees.at(-1)?.leaves === last.leaves) {
      const left = this.subtrees.pop();
      last = { leaves: left.leaves * 2, hash: sha256(Buffer.of(1), left.hash, last.hash) };
    }
    this.subtrees.push(last);
  }

  root() {
    if (this.subtrees.length === 0) return sha256();
    return this.subtrees.map(({ hash }) => hash).reduceRight((right, left) => sha256(Buffer.of(1), left, right));
  }
}

function genesis(key) {
  return sha256(`cardea/audit/genesis/v1\n${key.origin}\n`, key.publicKey);
}

/** `<origin>+<hex key id>+<base64(0x01 ‖ public key)>`, C2SP signed-note. */
function parseVerifierKey(vkey) {
  const [, origin, keyId, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey) ?? [];
  const typed = decodeBase64(encoded, 33);
  if (!typed || typed[0] !== 1)
    throw wrongUsage('the verifier key is not <origin>+<key id>+<base64 of an Ed25519 key>');
  if (sha256(`${origin}\n`, typed).toString('hex', 0, 4) !== keyId) throw wrongUsage('the verifier key is mistyped');
  return { vkey, origin, keyId: Buffer.from(keyId, 'hex'), publicKey: typed.subarray(1) };
}

/** Opens the checkpoints of a file, which holds nothing else. */
function openNotes(bytes, keys, file) {
  const text = bytes.toString('utf8');
  const notes = [];
  CHECKPOINT.lastIndex = 0;
  for (let at = 0; at < text.length; at = CHECKPOINT.lastIndex) {
    const [, note] = CHECKPOINT.exec(text) ?? [];
    if (note === undefined) throw notCheckpoint(file, text, at);
    notes.push(note);
  }
  if (notes.length === 0) throw notCheckpoint(file, text, 0);
  if (!Buffer.from(text).equals(bytes)) throw notSigned(file);
  return notes.map((note, i) => {
    const name = notes.length === 1 ? file : `${file}, checkpoint ${i + 1} of ${notes.length}`;
    return { ...openNote(Buffer.from(note), keys, name), name };
  });
}

/** Opens a C2SP tlog-checkpoint that one of the keys has signed. Checks the signature first, then the content. */
function openNote(bytes, keys, name) {
  const note = bytes.toString('utf8');
  const end = note.lastIndexOf('\n\n');
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2).split('\n');
  const key = keys.find((one) => lines.some((line) => isSignatureOf(one, text, line)));
  // A file that is not UTF-8, or does not end with its last signature, is not the signed file.
  if (end < 0 || !key || !Buffer.from(note).equals(bytes) || !/[^\n]\n$/.test(note)) throw notSigned(name);
  const [, origin, size, root] = /^([^\n]+)\n(0|[1-9]\d{0,15})\n(\S+)\n$/.exec(text) ?? [];
  const hash = decodeBase64(root, 32);
  if (origin !== key.origin || !hash || !isCount(Number(size))) {
    throw finding('signature', `${name} is signed, but is not a checkpoint of this log`);
  }
  return { size: Number(size), root: hash, key };
}

function isSignatureOf(key, text, line) {
  if (!line.startsWith(`— ${key.origin} `)) return false;
  const signature = decodeBase64(line.slice(key.origin.length + 3), 68);
  return signature?.subarray(0, 4).equals(key.keyId) && isSignedBy(key, text, signature.subarray(4));
}

/** Says that the file is the wrong file, so that nobody suspects the log. The exit code is that of no signature. */
function notCheckpoint(file, text, at) {
  const where = at === 0 ? `${file} is another kind of file` : `${file}, line ${text.slice(0, at).split('\n').length}`;
  return new Finding('not a checkpoint', EXIT.signature, where);
}

function notSigned(name) {
  return finding('signature', `${name} is not signed by the given key`);
}

function isSignedBy(key, text, signature) {
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key.publicKey]);
  return verify(null, Buffer.from(text), createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature);
}

/** A folder or a tar as named parts of files. The entries are never in memory all at once. */
function openArchive(path) {
  const files = statSync(path).isDirectory() ? listFolder(path) : listTar(path);
  return {
    has: (name) => files.has(name),
    read(name) {
      const file = files.get(name);
      if (!file) throw new Error(`${path} does not contain ${name}`);
      if (file.bytes > SMALL_FILE_BYTES_MAX) throw new Error(`${name} is too large`);
      return Buffer.concat([...chunks(file)]);
    },
    entryFiles: () => [...files].filter(([name]) => ENTRY_FILE.test(name)).sort(byFirstEntry),
  };
}

function byFirstEntry([a], [b]) {
  return Number(ENTRY_FILE.exec(a)[1]) - Number(ENTRY_FILE.exec(b)[1]);
}

function listFolder(path) {
  const names = readdirSync(path, { withFileTypes: true }).filter((file) => file.isFile());
  const list = names.map(({ name }) => [
    name,
    { path: join(path, name), start: 0, bytes: statSync(join(path, name)).size },
  ]);
  return new Map(list);
}

/** Reads POSIX ustar: 512-byte headers, files padded with zeros to 512 bytes, two blocks of zeros at the end. */
function listTar(path) {
  const files = new Map();
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    for (let at = 0; ;) {
      const header = readAt(fd, at, 512);
      at += 512;
      if (header.every((byte) => byte === 0)) {
        requireZeros({ path, start: at, bytes: size - at });
        return files;
      }
      const { name, bytes } = parseTarHeader(header);
      if (at + bytes > size) throw new Error(`${path} ends in the middle of ${name}`);
      if (files.has(name)) throw finding('modified', `${name} is in the archive twice`);
      files.set(name, { path, start: at, bytes });
      const padding = (512 - (bytes % 512)) % 512;
      if (readAt(fd, at + bytes, padding).some((byte) => byte !== 0))
        throw new Error(`${name} has padding that is not zero`);
      at += bytes + padding;
    }
  } finally {
    closeSync(fd);
  }
}

/** Refuses data after the end. Another tar reader might find it there, as an export that was not checked. */
function requireZeros(rest) {
  if (rest.bytes < 512) throw new Error('the archive ends too early');
  for (const chunk of chunks(rest)) {
    if (chunk.some((byte) => byte !== 0)) throw new Error('the archive continues after its end');
  }
}

function parseTarHeader(header) {
  const octal = (from, to) => {
    const text = header.toString('latin1', from, to).replace(/[\0 ]+$/, '');
    if (!/^[0-7]+$/.test(text)) throw new Error('the archive is damaged: a header has no octal number');
    return parseInt(text, 8);
  };
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  if (octal(148, 156) !== sum) throw new Error('the archive is damaged: the checksum of a header is wrong');
  const name = header.toString('utf8', 0, 100).replace(/\0[^]*$/, '');
  if (header[156] !== 0x30) throw new Error(`${name} is not a plain file`);
  return { name: name.replace(/^\.\//, ''), bytes: octal(124, 136) };
}

function readAt(fd, position, length) {
  const buffer = Buffer.alloc(length);
  if (readSync(fd, buffer, 0, length, position) !== length) throw new Error('the archive ends too early');
  return buffer;
}

function* chunks({ path, start, bytes }) {
  const fd = openSync(path, 'r');
  try {
    for (let done = 0; done < bytes; done += CHUNK_BYTES) {
      yield readAt(fd, start + done, Math.min(CHUNK_BYTES, bytes - done));
    }
  } finally {
    closeSync(fd);
  }
}

/** Every line of every entries file without its LF, in the order of the entries. */
function* entryLines(archive) {
  for (const [name, file] of archive.entryFiles())
    for (const line of linesOf(file, ENTRY_BYTES_MAX)) yield { line, file: name };
}

/** Lines of at most `bytesMax`, give or take a chunk. What follows a longer one is not read. */
function* linesOf(file, bytesMax) {
  let rest = Buffer.alloc(0);
  for (const chunk of chunks(file)) {
    rest = Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, start)) {
      yield rest.subarray(start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
    if (rest.length > bytesMax) break;
  }
  // A last line without LF is not whole. Whoever checks the lines still gets it and refuses it.
  if (rest.length > 0) yield Buffer.concat([rest, Buffer.from('\n')]);
}

function parseSmallJson(archive, name) {
  let value;
  try {
    value = JSON.parse(archive.read(name).toString('utf8'));
  } catch (error) {
    if (!archive.has(name)) throw error;
    throw finding('modified', `${name}: ${error.message}`);
  }
  if (!isObject(value)) throw finding('modified', `${name} is not an object`);
  return value;
}

function readWholeFile(path) {
  if (statSync(path).size > SMALL_FILE_BYTES_MAX) throw new Error(`${path} is too large`);
  return readFileSync(path);
}

/** Decodes canonical base64 of exactly this many bytes. Undefined for any other text. */
function decodeBase64(text, bytes) {
  if (typeof text !== 'string') return undefined;
  const decoded = Buffer.from(text, 'base64');
  return decoded.length === bytes && decoded.toString('base64') === text ? decoded : undefined;
}

function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Something wrong with the log itself, with the exit code of its class. */
class Finding extends Error {
  constructor(title, exitCode, message) {
    super(message);
    this.title = title.toUpperCase();
    this.exitCode = exitCode;
  }
}

function finding(kind, message) {
  return new Finding(kind, EXIT[kind], message);
}

// Last, so that everything above is defined.
main();
