import type { AuditLog } from '@cardea/contracts/audited';
import type { Keks } from '@cardea/contracts/keks';

/**
 * The key service, with a check of the audit log before each call: no key is used, made or destroyed while the log
 * cannot record it.
 * @throws AppError `unavailable` while the log is known not to answer
 */
export function admittedKeks({ keks, audit }: { keks: Keks; audit: AuditLog }): Keks {
  return {
    async wrap(ref, dek) {
      audit.admit();
      return keks.wrap(ref, dek);
    },
    async unwrap(ref, wrapped, by) {
      audit.admit();
      return keks.unwrap(ref, wrapped, by);
    },
    async rewrap(deks) {
      audit.admit();
      return keks.rewrap(deks);
    },
    async rotate(requestId) {
      audit.admit();
      return keks.rotate(requestId);
    },
    async list() {
      audit.admit();
      return keks.list();
    },
    async destroy(version) {
      audit.admit();
      return keks.destroy(version);
    },
  };
}
