import helmet from 'helmet';

/**
 * Security headers of an interface that only speaks JSON: those that the OWASP REST Security Cheat Sheet asks for, and
 * two more. What only means something for a document is left out, since every answer pays for it at both ends.
 */
export const securityHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
  },
  crossOriginResourcePolicy: { policy: 'same-origin' },
  referrerPolicy: { policy: 'no-referrer' },
  xFrameOptions: { action: 'deny' },
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

/** The same headers for answers that Express does not write; they do not depend on the request. */
export const constantHeaders: Readonly<Record<string, string>> = askOnce();

function askOnce(): Record<string, string> {
  const headers: Record<string, string> = {};
  const response = {
    setHeader: (name: string, value: string) => void (headers[name] = value),
    removeHeader: () => {},
  };
  securityHeaders({} as never, response as never, () => {});
  return headers;
}
