import { onceFor } from "../once-for.ts";
import { Breaker, type Admission, type BreakerState, type Passage } from "./breaker.ts";
import { reasonIn, type OriginError, type OriginErrorCode } from "./origin-error.ts";
import { isPassing } from "./origin-failure.ts";
import type { OriginRequest } from "./origin.ts";
import { redactUrl } from "./redact-url.ts";
import { requestKey } from "./request-key.ts";
import { retryAfterMs } from "./retry.ts";

/** Whether a request may go, and if not why. */
export type Verdict =
  | { readonly kind: "go" }
  | (Exclude<Admission, { readonly kind: "go" }> & {
      /** What has failed, for people: `http://host:1234`, or `this file of http://host:1234`. */
      readonly what: string;
      readonly failureCount: number;
      /** What was wrong the last time, without a URL. */
      readonly lastFailure: string;
    });

/** One request under way. Comes to exactly one end: `succeeded`, `failed` or `left`; further ones are passed over. */
export interface Attempt {
  readonly request: OriginRequest;
}

/** How an origin does, by scheme, host and port. */
export interface HostReport {
  readonly origin: string;
  readonly state: BreakerState;
  /** In a row. */
  readonly failureCount: number;
  /** Unix milliseconds; absent: now. */
  readonly askedAgainMs?: number;
  readonly lastFailure?: { readonly text: string; readonly atMs: number };
  /** Since it became known. */
  readonly requestCount: number;
  readonly faultCount: number;
  /** Files that it fails to serve, while it may serve others. */
  readonly failingFileCount: number;
}

export type HealthChange = {
  readonly kind: "opened" | "closed";
  /** As in `Verdict`. */
  readonly what: string;
  /** Of a file, without credentials. */
  readonly url?: string;
  readonly lastFailure: string;
  readonly failureCount: number;
};

/** So many files that an origin answers with errors are the origin's fault, not theirs. */
const FAILING_FILES_MAX = 3;
const HOSTS_MAX = 1000;
const FILES_MAX = 10_000;

/**
 * Who fails, and when it is asked again: pure bookkeeping, no clock, no I/O.
 *
 * What is wrong with the connection to a host is everybody's matter, and holds back all that goes there. What is wrong with an answer (429, 5xx, a
 * body that breaks off) is at first a matter of the file and of the credentials it was asked for with, since others may do well; only when
 * several files of a host fail, and none succeeds in between, is it the host's. Answers that are final, such as 404, say that the host is well.
 */
export class OriginHealth {
  readonly #onChange: ((change: HealthChange) => void) | undefined;
  /** By scheme, host and port; the one used the longest ago first. */
  readonly #hosts = new Map<string, HostRecord>();
  /** By `requestKey`, while there is something to remember; the one used the longest ago first. */
  readonly #files = new Map<string, FileRecord>();

  constructor(options: { readonly onChange?: (change: HealthChange) => void } = {}) {
    this.#onChange = options.onChange;
  }

  /** Changes nothing. */
  mayAsk(request: OriginRequest, nowMs: number): Verdict {
    const file = this.#files.get(requestKey(request));
    const hosts = new Set([originOf(request), file?.target]);
    const records = [
      ...[...hosts].map((origin) => (origin === undefined ? undefined : this.#hosts.get(origin))),
      file,
    ];
    let verdict: Verdict = { kind: "go" };
    let untilMs = Number.NEGATIVE_INFINITY;
    for (const record of records) {
      const admission = record?.breaker.ask(nowMs) ?? { kind: "go" };
      if (record === undefined || admission.kind === "go") continue;
      // The longest pause is the one to wait for.
      const endMs = admission.kind === "hold" ? admission.untilMs : nowMs;
      if (endMs <= untilMs) continue;
      untilMs = endMs;
      const { what, breaker, lastFailure } = record;
      const { failureCount } = breaker;
      verdict = { ...admission, what, failureCount, lastFailure: lastFailure?.text ?? "" };
    }
    return verdict;
  }

  /** Of one that may go. */
  begin(request: OriginRequest): Attempt {
    const host = this.#hostOf(originOf(request));
    const file = this.#fileOf(request);
    host.requestCount += 1;
    file.attemptCount += 1;
    const target = file.target === undefined ? undefined : this.#hostOf(file.target);
    return new RunningAttempt(request, { host, file, target });
  }

  /** The header of a good answer has come. @param servedBy whom from, if redirects led elsewhere */
  answered(attempt: Attempt, servedBy?: string): void {
    const running = asRunning(attempt);
    if (running.isOver) return;
    running.isAnswered = true;
    const { file, host, passage } = running;
    file.target = servedBy === undefined || servedBy === host.origin ? undefined : servedBy;
    this.#pathWorks(running);
    file.breaker.answered(passage);
  }

  /** All that was wanted has come. */
  succeeded(attempt: Attempt): void {
    const running = asRunning(attempt);
    if (!end(running)) return;
    this.#pathWorks(running);
    this.#fileWorks(running);
    this.#forget(running.file);
  }

  failed(attempt: Attempt, error: OriginError, time: HealthTime): void {
    const running = asRunning(attempt);
    if (!end(running)) return;
    const { file, host, isAnswered } = running;
    const at = error.at ?? file.target ?? host.origin;
    switch (faultOf(error, isAnswered)) {
      case "connection":
        if (at !== host.origin) {
          // Whoever sent us there is well.
          file.target = at;
          this.#works(host, running.passageOf(host));
        }
        this.#fails(this.#hostOf(at), running, error, time);
        break;
      case "answer":
        this.#fileFails(running, this.#hostOf(at), error, time);
        break;
      case "none":
        this.#pathWorks(running);
        this.#fileWorks(running);
        break;
      case "unknown":
        break;
    }
    this.#forget(file);
  }

  /** Whoever asked has gone, and nothing is known. */
  left(attempt: Attempt): void {
    const running = asRunning(attempt);
    if (!end(running)) return;
    this.#forget(running.file);
  }

  /** In the order in which they were last asked. */
  report({ nowMs, dateMs }: Pick<HealthTime, "nowMs" | "dateMs">): HostReport[] {
    return [...this.#hosts.values()].map((host) => {
      const { origin, breaker, lastFailure, requestCount, faultCount, failingFiles } = host;
      const admission = breaker.ask(nowMs);
      return {
        origin,
        state: breaker.state(nowMs),
        failureCount: breaker.failureCount,
        ...(admission.kind === "hold"
          ? { askedAgainMs: Math.ceil(dateMs + admission.untilMs - nowMs) }
          : {}),
        ...(lastFailure === undefined ? {} : { lastFailure }),
        requestCount,
        faultCount,
        failingFileCount: failingFiles.size,
      };
    });
  }

  /** Connections to whoever was asked on the way have led to an answer. */
  #pathWorks(running: RunningAttempt): void {
    const { host, file } = running;
    this.#works(host, running.passageOf(host));
    if (file.target === undefined) return;
    const target = this.#hostOf(file.target);
    this.#works(target, running.passageOf(target));
  }

  #fileWorks({ file, host, passage }: RunningAttempt): void {
    this.#works(file, passage);
    host.failingFiles.clear();
    if (file.target !== undefined) this.#hosts.get(file.target)?.failingFiles.clear();
  }

  #fileFails(
    running: RunningAttempt,
    host: HostRecord,
    error: OriginError,
    time: HealthTime,
  ): void {
    const { file, passage } = running;
    this.#note(file, passage, error, time);
    // Whom a 429 is for is whoever asks too often: others may be welcome.
    if (error.statusCode !== 429 && host.failingFiles.size < FAILING_FILES_MAX)
      host.failingFiles.add(file.key);
    if (host.failingFiles.size >= FAILING_FILES_MAX) {
      this.#fails(host, running, error, time);
      return;
    }
    host.faultCount += 1;
    this.#pathWorks(running);
  }

  #fails(host: HostRecord, running: RunningAttempt, error: OriginError, time: HealthTime): void {
    host.faultCount += 1;
    this.#note(host, running.passageOf(host), error, time);
  }

  #note(
    record: HostRecord | FileRecord,
    passage: Passage,
    error: OriginError,
    { nowMs, dateMs, random }: HealthTime,
  ): void {
    const { breaker } = record;
    const wasClosed = breaker.isClosed;
    record.lastFailure = { text: reasonIn(error.message), atMs: dateMs };
    breaker.failed(passage, { nowMs, random, askedForMs: retryAfterMs(error, dateMs) });
    if (wasClosed && !breaker.isClosed) this.#tell("opened", record);
  }

  #works(record: HostRecord | FileRecord, passage: Passage): void {
    const wasClosed = record.breaker.isClosed;
    record.breaker.succeeded(passage);
    if (!wasClosed) this.#tell("closed", record);
  }

  #tell(kind: HealthChange["kind"], record: HostRecord | FileRecord): void {
    const { what, breaker, lastFailure } = record;
    this.#onChange?.({
      kind,
      what,
      ...("url" in record ? { url: record.url } : {}),
      failureCount: breaker.failureCount,
      lastFailure: lastFailure?.text ?? "",
    });
  }

  #hostOf(origin: string): HostRecord {
    const host = this.#hosts.get(origin) ?? {
      origin,
      what: origin,
      breaker: new Breaker(),
      lastFailure: undefined,
      failingFiles: new Set<string>(),
      requestCount: 0,
      faultCount: 0,
    };
    keep(this.#hosts, origin, host, HOSTS_MAX);
    return host;
  }

  #fileOf(request: OriginRequest): FileRecord {
    const key = requestKey(request);
    const file = this.#files.get(key) ?? {
      key,
      what: `this file of ${originOf(request)}`,
      url: redactUrl(request.url),
      breaker: new Breaker(),
      lastFailure: undefined,
      target: undefined,
      attemptCount: 0,
    };
    keep(this.#files, key, file, FILES_MAX);
    return file;
  }

  /** What is well and not asked need not be remembered; but where it leads, if that is not well. */
  #forget({ key, breaker, attemptCount, target = "" }: FileRecord): void {
    const targetFails = (this.#hosts.get(target)?.breaker.failureCount ?? 0) > 0;
    if (attemptCount === 0 && breaker.failureCount === 0 && !targetFails) this.#files.delete(key);
  }
}

export interface HealthTime {
  /** Of a clock that does not go back. */
  readonly nowMs: number;
  /** The same moment in Unix milliseconds, for dates that are named or shown. */
  readonly dateMs: number;
  /** From 0 up to 1. */
  readonly random: number;
}

interface Failure {
  readonly text: string;
  /** Unix milliseconds. */
  readonly atMs: number;
}

interface HostRecord {
  readonly origin: string;
  readonly what: string;
  readonly breaker: Breaker;
  lastFailure: Failure | undefined;
  /** Keys of files that have failed since one has succeeded, up to as many as it takes. */
  readonly failingFiles: Set<string>;
  requestCount: number;
  faultCount: number;
}

interface FileRecord {
  readonly key: string;
  readonly what: string;
  readonly url: string;
  readonly breaker: Breaker;
  lastFailure: Failure | undefined;
  /** The host that redirects have led to, when that is another one. */
  target: string | undefined;
  attemptCount: number;
}

class RunningAttempt implements Attempt {
  readonly request: OriginRequest;
  readonly host: HostRecord;
  readonly file: FileRecord;
  readonly passage: Passage;
  isAnswered = false;
  isOver = false;
  readonly #passages = new Map<HostRecord, Passage>();

  constructor(
    request: OriginRequest,
    { host, file, target }: { host: HostRecord; file: FileRecord; target: HostRecord | undefined },
  ) {
    this.request = request;
    this.host = host;
    this.file = file;
    this.passage = file.breaker.begin();
    this.#passages.set(host, host.breaker.begin());
    if (target !== undefined) this.#passages.set(target, target.breaker.begin());
  }

  /** Through the breaker of a host; nobody knew of some before. */
  passageOf(host: HostRecord): Passage {
    return this.#passages.get(host) ?? host.breaker.begin();
  }

  leave(): void {
    for (const [{ breaker }, passage] of this.#passages) breaker.left(passage);
    this.file.breaker.left(this.passage);
  }
}

/** What is wrong: the way to whoever answers, what is answered, nothing but the request, or something of which nobody knows. */
type Fault = "connection" | "answer" | "none" | "unknown";

/** @param isAnswered a good header has come before */
function faultOf(error: OriginError, isAnswered: boolean): Fault {
  const fault = FAULTS[error.code];
  return typeof fault === "string" ? fault : fault(error, isAnswered);
}

const FAULTS: Readonly<
  Record<OriginErrorCode, Fault | ((error: OriginError, isAnswered: boolean) => Fault)>
> = {
  ERR_ORIGIN_UNREACHABLE: (error, isAnswered) => {
    // Names that are not found and proxies that will not connect say nothing of the host.
    if (!isPassing(error)) return "unknown";
    return isAnswered ? "answer" : "connection";
  },
  ERR_ORIGIN_STALLED: (_error, isAnswered) => (isAnswered ? "answer" : "connection"),
  ERR_ORIGIN_STATUS: (error) => {
    if (error.statusCode === 407) return "unknown";
    return isPassing(error) ? "answer" : "none";
  },
  ERR_ORIGIN_TRUNCATED: "answer",
  ERR_ORIGIN_OVERLONG: "answer",
  ERR_ORIGIN_CHANGED: "none",
  ERR_ORIGIN_NO_RANGES: "none",
  ERR_ORIGIN_DIGEST: "none",
  // What one user trusts and asks for is no matter of others.
  ERR_ORIGIN_TLS: "unknown",
  ERR_ORIGIN_URL: "unknown",
  ERR_ORIGIN_REDIRECT_LOOP: "unknown",
  ERR_ORIGIN_SUSPENDED: "unknown",
};

function asRunning(attempt: Attempt): RunningAttempt {
  if (attempt instanceof RunningAttempt) return attempt;
  throw new TypeError("Cannot end attempt: it was not begun here");
}

function end(running: RunningAttempt): boolean {
  if (running.isOver) return false;
  running.isOver = true;
  running.file.attemptCount -= 1;
  // Not every host that it might have come to is judged by how it ends, and nobody may go on waiting for a trial of one that is not.
  running.leave();
  return true;
}

/** Scheme, host and port; of what is no URL itself, which nobody will answer. */
const originOf: (request: OriginRequest) => string = onceFor(({ url }) =>
  URL.canParse(url) ? new URL(url).origin : "",
);

/** Puts an entry last, and the first one out if there are too many. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value, countMax: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= countMax) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
