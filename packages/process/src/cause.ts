/** What an error says about its cause. Sockets, files, TLS, SQLite, PostgreSQL and Redis fill in what they know. */
interface Facts {
  code: string;
  message: string;
  path: string;
  address?: string;
  port?: number;
  hostname?: string;
  syscall?: string;
}

const CAUSES_MAX = 64;

/** The causes that operators meet: a code, and what it means and what to do. Codes of five characters are PostgreSQL's. */
const known: [RegExp, (facts: Facts) => string][] = [
  [/^(ENOSPC|EDQUOT|SQLITE_FULL)$/, ({ code }) => `the disk is full (${code}): make room on it`],
  [/^53100$/, ({ code }) => `the disk of PostgreSQL is full (${code}): make room on it`],
  [/^EROFS$/, ({ code }) => `the disk can only be read (${code}): mount it for writing`],
  [
    /^SQLITE_READONLY/,
    ({ code }) => `the database file can only be read (${code}): let Cardea write to it and its folder`,
  ],
  [
    /^SQLITE_CANTOPEN/,
    ({ code }) => `the database file cannot be opened (${code}): let Cardea read and write its folder`,
  ],
  [/^SQLITE_(BUSY|LOCKED)/, ({ code }) => `another process uses the database file (${code}): stop that process`],
  [
    /^SQLITE_(CORRUPT|NOTADB)/,
    ({ code }) => `the database is damaged (${code}): put the data folder back from a backup`,
  ],
  [/^(EIO|SQLITE_IOERR)/, ({ code }) => `the disk fails (${code}): look at the room on it, and into the kernel's log`],
  [/^(EACCES|EPERM)$/, denied],
  [/^ENOENT$/, missing],
  [
    /^(EEXIST|ENOTDIR|EISDIR)$/,
    ({ code, path }) => `something else is where ${path} must be (${code}): move it away, or correct the path`,
  ],
  [/^EADDRINUSE$/, ({ code, port }) => `port ${port} is in use (${code}): stop what uses it, or set another port`],
  [/^EADDRNOTAVAIL$/, ({ code, address }) => `this machine has no address ${address} (${code}): set one that it has`],
  [/^(EMFILE|ENFILE)$/, ({ code }) => `too many files are open (${code}): raise the limit of open files`],
  [/^ECONNREFUSED$/, refusing],
  [
    /^(ENOTFOUND|EAI_AGAIN)$/,
    ({ code, hostname }) => `nobody knows the name ${hostname} (${code}): correct it, or the DNS`,
  ],
  [
    /^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    ({ code }) => `the other side closed the connection (${code}): look into its log`,
  ],
  [
    /^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_\w+_TIMEOUT)$/,
    ({ code }) => `no answer came in time (${code}): look whether it runs, and whether a firewall is in between`,
  ],
  [
    /^CERT_NOT_YET_VALID$/,
    ({ code }) =>
      `a certificate is not valid yet (${code}): set the clock right, of this machine or of the one that made it`,
  ],
  [
    /^CERT_HAS_EXPIRED$/,
    ({ code }) => `a certificate has expired (${code}): set the clock of this machine right, or renew the certificate`,
  ],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    ({ code }) => `the certificate is for another name (${code}): correct the address`,
  ],
  [
    /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/,
    ({ code }) => `another CA has signed the certificate (${code}): set the file of the right CA`,
  ],
  [
    /^ERR_SSL_.*ALERT/,
    ({ code }) => `the other side refuses the certificate of this service (${code}): compare both clocks and CAs`,
  ],
  [/^28/, ({ code, message }) => `${message} (${code}): correct the user or the password`],
  [/^3D000$/, ({ code, message }) => `${message} (${code}): make it, or correct the name`],
  [
    /^53300$/,
    ({ code }) =>
      `PostgreSQL has no connection left (${code}): raise max_connections or lower CARDEA_DATABASE_CONNECTIONS`,
  ],
  [/^42501$/, ({ code, message }) => `${message} (${code}): give the role its rights, see docs/roles.md`],
  [/^57P0[1-3]$/, ({ code, message }) => `${message} (${code}): wait until PostgreSQL has started`],
  [/^25006$/, ({ code }) => `this PostgreSQL is a standby (${code}): connect to the primary`],
  [/^(NOAUTH|WRONGPASS)$/, ({ code }) => `Redis refuses the password (${code}): correct the password`],
  [/^NOPERM$/, ({ code }) => `the user of Redis lacks a right (${code}): give it the right`],
  [
    /^BUSY$/,
    ({ code }) =>
      `Redis runs a script that does not end (${code}): let SCRIPT KILL end it, or start Redis again, and look who sent it`,
  ],
  [/^LOADING$/, ({ code }) => `Redis reads its data (${code}): wait until it has`],
  [/^READONLY$/, ({ code }) => `this Redis is a replica (${code}): connect to its primary`],
  [/^MISCONF$/, ({ code }) => `Redis cannot write to its disk (${code}): look into its log`],
  [/^OOM$/, ({ code }) => `Redis has no memory left (${code}): raise its maxmemory`],
];

/**
 * The error at the beginning of it all: along `cause`, through the errors of an AggregateError, and the first one of a
 * SuppressedError. Of several, the first one whose code `known` has.
 */
export function rootCause(error: unknown): unknown {
  const deepestFirst = causesOf(error);
  return deepestFirst.find((cause) => wordsFor(cause) !== undefined) ?? deepestFirst[0];
}

/** The code of the root cause, such as `ENOSPC`; undefined if it has none. */
export function rootCode(error: unknown): string | undefined {
  return codeOf(rootCause(error));
}

/** Whether operators are told what an error means, and not only its text. */
export function isKnownCause(error: unknown): boolean {
  return wordsFor(rootCause(error)) !== undefined;
}

/** Whether it all began with a disk that has no room. */
export function isDiskFull(error: unknown): boolean {
  return /^(ENOSPC|EDQUOT|SQLITE_FULL|53100)$/.test(rootCode(error) ?? '');
}

/**
 * `The database could not commit, because the disk is full (SQLITE_FULL): make room on it`. Every message about an error
 * that ends a process, or that a process waits for, is made by this function. Without an error it is `what` alone.
 */
export function withCause(what: string, error: unknown): string {
  const clause = what.replace(/\.$/, '');
  if (error === undefined) return clause;
  const root = rootCause(error);
  return `${clause}, because ${wordsFor(root, clause) ?? messageOf(root)}`;
}

// Cut off, because causes may form a circle.
function causesOf(error: unknown, depth = 0): unknown[] {
  if (typeof error !== 'object' || error === null || depth === CAUSES_MAX) return [error];
  return [...directCausesOf(error).flatMap((cause) => causesOf(cause, depth + 1)), error];
}

function directCausesOf(error: object): unknown[] {
  // The error of a clean-up is not the reason.
  if ('suppressed' in error) return [error.suppressed];
  const errors = 'errors' in error && Array.isArray(error.errors) ? (error.errors as unknown[]) : [];
  return 'cause' in error && error.cause !== undefined ? [...errors, error.cause] : errors;
}

/** `what` is the clause before it. A path that it names is not named again. */
function wordsFor(error: unknown, what = ''): string | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  const words = known.find(([codes]) => codes.test(code))?.[1];
  const { address = 'a file', path = address } = error as Partial<Facts>;
  return words?.({ ...(error as Facts), code, path: what.includes(path) ? 'it' : path, message: messageOf(error) });
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { name, code, message } = error as { name?: unknown; code?: unknown; message?: unknown };
  // An AbortSignal that has timed out.
  if (name === 'TimeoutError') return 'ETIMEDOUT';
  // The protocol of Redis has the code as the first word of an error.
  if (name === 'ReplyError' && typeof message === 'string') return /^[A-Z]+/.exec(message)?.[0];
  return typeof code === 'string' ? code : undefined;
}

function messageOf(error: unknown): string {
  const message = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
  return String(message).replace(/\.$/, '');
}

function denied({ code, syscall, path, port }: Facts): string {
  if (syscall === 'listen') return `port ${port} is not for every user (${code}): use a port above 1023`;
  return `the user that runs Cardea may not use ${path} (${code}): give it to that user`;
}

function missing({ code, path, syscall }: Facts): string {
  // The socket of a server that does not run.
  if (syscall === 'connect') return refusing({ code, path });
  return `${path} is not there (${code}): correct the path`;
}

function refusing({ code, path, address, port }: Pick<Facts, 'code' | 'path' | 'address' | 'port'>): string {
  const host = address?.includes(':') ? `[${address}]` : address;
  const place = port === undefined ? path : `${host}:${port}`;
  return `nothing listens at ${place} (${code}): start it, or correct its address`;
}
