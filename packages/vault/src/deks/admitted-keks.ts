import type { AuditLog } from '@cardea/contracts/audited';
import type { Keks } from '@cardea/contracts/keks';

/**
 * The key service, which is asked only after the audit log: what could not be recorded is neither wrapped, unwrapped nor rewrapped.
 * @throws AppError `unavailable` while the log is known to be away
 */
export function admittedKeks({ keks, audit }: { keks: Keks; audit: AuditLog }): Keks {
  return {
    async wrap(ref, dek) {
      audit.admit();
      return keks.wrap(ref, dek);
    },
    async unwrap(ref, wrapped) {
      audit.admit();
      return keks.unwrap(ref, wrapped);
    },
    async rewrap(deks) {
      audit.admit();
      return keks.rewrap(deks);
    },
  };
}
