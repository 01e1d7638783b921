/** The services of profile mini, by the names of their folders. */
export const serviceNames = ['kek-service', 'audit-service', 'api-service'] as const;

export type ServiceName = (typeof serviceNames)[number];

/** What the process that runs the supervisor is told. */
export interface Order {
  kill: ServiceName;
}

/** What it tells of its services. `code` is null for one that was killed. */
export type Tidings =
  | { name: ServiceName; is: 'ready' }
  | { name: ServiceName; is: 'ended'; code: number | null }
  | { name: ServiceName; is: 'not running' };
