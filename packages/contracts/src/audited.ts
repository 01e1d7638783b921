import type { AuditEvent } from './audit-event.ts';

/** Where the log has put an event. An `AuditLog` hands one out only once the entry is on disk. */
export interface Receipt {
  seq: number;
  /** RFC 6962 leaf hash of the entry, base64. */
  leaf: string;
}

/** The audit log, as those who write to it see it. */
export interface AuditLog {
  /**
   * Asked before anything is decided, decrypted or changed, so that a log known to be away costs nothing but a 503.
   * @throws AppError `unavailable`
   */
  admit(): void;
  /**
   * Resolves once the entry is durable. The same id may be appended again with the same content.
   * @throws AppError `unavailable` if the log does not answer in time or is full; then release nothing.
   */
  append(event: AuditEvent): Promise<Receipt>;
}

/**
 * A result whose audit record is durable. Endpoints that show anything answer with one of these,
 * so a handler that forgot its record does not compile, and one that lies about it has no receipt.
 */
export class Audited<T> {
  readonly receipt: Receipt;
  readonly value: T;

  constructor(receipt: Receipt, value: T) {
    this.receipt = receipt;
    this.value = value;
  }

  /** Reshapes what will be shown; the record stays the same. */
  map<U>(reshape: (value: T) => U): Audited<U> {
    return new Audited(this.receipt, reshape(this.value));
  }
}

/** An answer that releases nothing, because the client has it already (304): so there is nothing to record. */
export class NotModified {
  readonly headers: Record<string, string>;

  constructor(headers: Record<string, string>) {
    this.headers = headers;
  }
}
