import './jest-global-setup.ts';

/** Stops what the global setup has started. */
export default async function stopTestServers(): Promise<void> {
  await Promise.all((globalThis.cardeaTestServers ?? []).map((server) => server.stop()));
}
