/** What a token says; `iat` and `exp` in epoch seconds. */
export interface Claims {
  readonly iss: string; readonly aud: string; readonly sub: string; readonly sid: string; readonly jti: string;
  readonly key_id: string; readonly scope: string; readonly era: number; readonly iat: number; readonly exp: number;
  readonly client_id: string; readonly kid: string;
}

/** Durations are in seconds. */
export interface Options {
  url: string;
  clientKey: string;
  algorithms?: readonly ('ES256' | 'RS256' | 'Ed25519')[];
  /** For how long what was told is believed; by default, what the service says. */
  lease?: number;
  /** For how long `verify` waits for an answer. */
  patience?: number;
  issuer?: string;
  audience?: string;
  leeway?: number;
  /** The longest life of an access token. */
  accessSeconds?: number;
  steady?: () => number;
  wall?: () => number;
  log?: (line: string) => void;
}

export interface Status {
  state: 'empty' | 'fresh' | 'stale';
  lease_left: number;
  entries: number;
  last_fault: string;
  fail_open: boolean;
}

export interface Verifier {
  verify(token: string | undefined): Promise<Claims>;
  judge(token: string | undefined): Promise<Claims>;
  isFresh(): boolean;
  status(): Status;
  close(): Promise<void>;
}

export class Refused extends Error { status: 401; error: string; headers: Record<string, string>; }
export class Unavailable extends Error { status: 503; error: string; headers: Record<string, string>; }
export function bearerToken(header: string | undefined): string | undefined;
export function createVerifier(options: Options): Verifier;
