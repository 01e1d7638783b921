import type { AuditEvent } from './audit-event.ts';

/** The position of an event in the audit log. `append` returns it only once the entry is on disk. */
export interface Receipt {
  seq: number;
  /** The leaf hash of the entry (RFC 6962) in base64. */
  leaf: string;
}

/** The audit log, as the other services see it. */
export interface AuditLog {
  /**
   * Checks that the log is not known to be down. Called before anything is decided, decrypted or changed.
   * @throws AppError `unavailable` while the log is known not to answer
   */
  admit(): void;
  /**
   * Keeps room for all events of one request, so that none of them is refused later for want of room. Many events wait
   * for those of others that sent many; they take no room from callers who send a few. A log that lets no event wait
   * needs no such function.
   * @throws AppError `unavailable` if the log is known not to answer, or if there is no room in time
   */
  reserve?(count: number): Promise<AuditRoom>;
  /**
   * Resolves once the entry is durable. An event may be appended again with the same id and the same content.
   * @throws AppError `unavailable` if the log does not answer in time, or if no room was kept and none is left: then the
   * caller must show nothing
   */
  append(event: AuditEvent, room?: AuditRoom): Promise<Receipt>;
}

/** Room for events that wait for the audit log. Each append takes one place of it. */
export interface AuditRoom {
  /** Gives back the places that were not taken. */
  release(): void;
}

/**
 * A result whose audit record is durable. Every endpoint that shows something returns one, so a handler without a
 * record does not compile. Only the audit log gives the receipt.
 */
export class Audited<T> {
  readonly receipt: Receipt;
  readonly value: T;

  constructor(receipt: Receipt, value: T) {
    this.receipt = receipt;
    this.value = value;
  }

  /** Reshapes the result and keeps the receipt. */
  map<U>(reshape: (value: T) => U): Audited<U> {
    return new Audited(this.receipt, reshape(this.value));
  }
}

/** A 304: the client has the result already. The answer shows nothing, so it needs no record. */
export class NotModified {
  readonly headers: Record<string, string>;

  constructor(headers: Record<string, string>) {
    this.headers = headers;
  }
}
