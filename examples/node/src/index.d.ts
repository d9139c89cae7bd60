/** The types of the package. Moments are in milliseconds as of `Date.now()`, spans in milliseconds. */

export type Environment = 'production' | 'sandbox' | 'monthly-sandbox' | 'federal';

/** One connection: one environment, one client id, one user or service account. */
export interface Settings {
  /** For messages and for its folder in the store. */
  name: string;
  environment: Environment;
  clientId: string;
  clientSecret: string | Secret;
  /** Exactly as registered; without it the connection is a service account's. */
  redirectUri?: string;
  /** The company that calls are for, where the caller names none. */
  companyId?: number;
  policy?: Partial<Policy>;
}

/** The numbers of the token policy. */
export interface Policy {
  refreshPercent: number;
  refreshJitter: number;
  tokenTimeout: number;
  /** Longer than `tokenTimeout`. */
  lockWait: number;
  callTimeout: number;
  parkedCount: number;
  parkedBytes: number;
  parkedAge: number;
  pkce: boolean;
}

/** What one plugin call may take. */
export interface Limits {
  compute: number;
  deadline: number;
  replayDeadline: number;
  replySize: number;
  hostCalls: number;
  concurrentCalls: number;
}

/** What a connection is lent. */
export interface Capabilities {
  plugin: Plugin;
  store: FileStore;
  http?: HttpClient;
  journals?: Journal[];
  clock?: Clock;
  limits?: Partial<Limits>;
  actor?: string;
}

export interface Clock {
  now(): number;
  /** Never decreases. */
  elapsed(): number;
  sleep(span: number): Promise<void>;
}

export interface HttpRequest {
  method: string;
  url: URL;
  headers: [name: string, value: string][];
  body: Uint8Array;
}

export interface HttpReply {
  status: number;
  headers: { name: string; value: string }[];
  body: Uint8Array;
}

/** Carries a request out, once: no redirects, no repeats, and no log of a query, a header or a body. Fails with an `HttpFailure`. */
export interface HttpClient {
  send(request: HttpRequest, limits: { timeout: number; replySize: number }): Promise<HttpReply>;
}

export interface Event {
  at: number;
  severity: 'debug' | 'info' | 'warning' | 'alert';
  code: string;
  message: string;
  fields: [name: string, value: string][];
}

export interface Journal {
  record(connection: string, event: Event): void;
  settled?(): Promise<void>;
}

export interface RequestOptions {
  /** Not `Authorization`, nor what belongs to the host. */
  headers?: Record<string, string> | Headers;
  body?: string | Uint8Array;
  /** Sent as the body, with its content type. Not beside `body`. */
  json?: unknown;
  companyId?: number;
  /** How long all attempts together may take. */
  timeout?: number;
  idempotent?: boolean;
  /** Whether to keep the request and replay it later where it cannot be sent now. */
  park?: boolean;
  orderKey?: string;
}

/** What Procore answered, with whatever status. */
export interface Answer {
  readonly parked: undefined;
  readonly status: number;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly attempts: number;
  /** What a refusal means; `undefined` for a status below 400. */
  readonly diagnosis?: Diagnosis;
  text(): string;
  json(): any;
}

export interface ParkedRequest {
  id: string;
  state: 'queued' | 'unknown-outcome' | 'dead-letter';
  method: string;
  path: string;
  size: number;
  parkedAt: number;
  replays: number;
  reason: string;
  orderKey?: string;
}

export interface Diagnosis {
  /** To compare; the set is open. */
  code: string;
  summary: string;
  cause: string;
  remedy: string;
  evidence: string[];
}

export interface Identity {
  id: number;
  login: string;
  name: string;
}

export interface Status {
  health: 'healthy' | 'unverified' | 'at-risk' | 'unavailable' | 'misconfigured' | 'sign-in-required';
  token?: { issuedAt: number; refreshAt: number; expiresAt: number };
  lastEvidence?: number;
  identity?: Identity;
  apiOrigin: string;
  refreshes: number;
  incident?: { since: number; lastTold: number; stage: 'working' | 'urgent' | 'dark'; darkAt?: number; diagnosis: Diagnosis };
  parked: number;
  undecided: number;
}

export interface Login {
  authorizeUrl: string;
  redirectUri: string;
  expiresAt: number;
}

export interface Visit {
  refreshed: boolean;
  replayed: number;
  comeBackAt: number;
  pauseUntil?: number;
  status: Status;
}

export interface ReplayReport {
  replayed: { id: string; status: number }[];
  remaining: number;
  stopped?: Diagnosis;
  pauseUntil?: number;
}

/** All methods fail with a `ProcoreAuthError`. `await connection.close()` before the process ends. */
export class Connection {
  constructor(settings: Settings, capabilities: Capabilities);
  accessToken(): Promise<AccessToken>;
  storedAccessToken(): Promise<AccessToken>;
  renewRejected(rejected: Secret): Promise<AccessToken>;
  request(method: string, path: string, options?: RequestOptions): Promise<Answer | { parked: ParkedRequest }>;
  status(): Promise<Status>;
  beginLogin(): Promise<Login>;
  finishLogin(callback: string | Secret): Promise<Status>;
  verify(): Promise<Identity>;
  revoke(): Promise<void>;
  forget(): Promise<void>;
  adopt(reply: Uint8Array, options?: { replace?: boolean }): Promise<Status>;
  upkeep(nextVisit?: number): Promise<Visit>;
  parked(): Promise<ParkedRequest[]>;
  replay(id?: string): Promise<ReplayReport>;
  discard(id: string): Promise<void>;
  diagnose(): Promise<Diagnosis[]>;
  close(): Promise<void>;
}

export type ErrorKind =
  | 'invalid-input'
  | 'configuration'
  | 'sign-in-required'
  | 'unavailable'
  | 'busy'
  | 'storage'
  | 'unknown-outcome'
  | 'internal';

/** Why a call gave no result. Contains no secret. */
export class ProcoreAuthError extends Error {
  constructor(kind: ErrorKind, diagnosis: Diagnosis, retryAt?: number);
  readonly kind: ErrorKind;
  readonly code: string;
  readonly summary: string;
  readonly cause: string;
  readonly remedy: string;
  readonly evidence: string[];
  readonly retryAt?: number;
}

/** Prints `****`. */
export class Secret {
  constructor(text: string);
  static of(secret: string | Secret): Secret;
  expose(): string;
  equals(other: Secret): boolean;
}

export class AccessToken {
  constructor(token: { bearer: string; refreshAt: number; expiresAt: number });
  readonly bearer: Secret;
  readonly refreshAt: number;
  readonly expiresAt: number;
  /** The value of the header `Authorization`: a secret too. */
  authorization(): string;
}

export class Plugin {
  private constructor();
  static load(options?: { folder?: string; sha256?: string }): Promise<Plugin>;
  /** The digest of the component that it was made from. */
  readonly component: string;
  /** The digest of its manifest: the pin. */
  readonly sha256: string;
}

export class FileStore {
  private constructor();
  /** `name` is the connection's. */
  static open(root: string, name: string): Promise<FileStore>;
}

/** What a configuration of `procore-auth` says about one connection. Paths are absolute. */
export interface Config {
  settings: Settings;
  state: string;
  journal: string;
  extraCa: string[];
  connectTo: string[];
}
/** Without `name`, the default connection or the only one. */
export function readConfig(file: string, name?: string): Promise<Config>;

/** Overrides of addresses, for tests. */
export type ConnectTo = Map<string, { hostname: string; port: string }>;
export function parseConnectTo(texts: string[]): ConnectTo;

export class HttpsClient implements HttpClient {
  constructor(options?: { extraCa?: Buffer[]; connectTo?: ConnectTo });
  send(request: HttpRequest, limits: { timeout: number; replySize: number }): Promise<HttpReply>;
  close(): Promise<void>;
}

export class JsonLinesJournal implements Journal {
  constructor(path: string);
  readonly lost: number;
  record(connection: string, event: Event): void;
  settled(): Promise<void>;
}

/** Why there is no reply. */
export class HttpFailure extends Error {
  /** `sent`: whether any byte of the request may have reached the server. */
  constructor(code: string, message: string, sent: boolean);
  readonly code: string;
  readonly sent: boolean;
}

/** Why the store could not do as asked. */
export class StoreFailure extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}
