/** The services of profile mini, by the names of their folders. */
export const serviceNames = ['kek-service', 'audit-service', 'api-service'] as const;

export type ServiceName = (typeof serviceNames)[number];

/** A message to the process that runs the supervisor. */
export interface KillOrder {
  kill: ServiceName;
}

/** A message from that process about a service. `code` is null if the service was killed. */
export type ServiceEvent =
  | { name: ServiceName; is: 'ready' }
  | { name: ServiceName; is: 'ended'; code: number | null }
  | { name: ServiceName; is: 'not running' };
