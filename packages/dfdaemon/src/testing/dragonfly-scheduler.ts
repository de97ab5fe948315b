/*
 * A scheduler that is as strict as Dragonfly's, over real gRPC: it refuses what its validation refuses, knows only hosts that were
 * announced, and moves its peers through the same states. What it answers to a question is up to the test.
 */
import {
  status,
  type AnnouncePeerRequest__Output,
  type AnnouncePeerResponse,
} from "@damselfly/rpc";
import { assertAnnouncement, assertPeerRequest } from "@damselfly/scheduler/testing";
import { serveFakeScheduler, type FakePeerCall, type FakeScheduler } from "./fake-scheduler.ts";

/** Names of its peer machine (scheduler/resource/standard/peer.go), as far as peers of version 2 come there. */
type State =
  | "Pending"
  | "ReceivedEmpty"
  | "ReceivedNormal"
  | "Running"
  | "BackToSource"
  | "Succeeded"
  | "Failed";

export interface StrictPeer {
  readonly hostId: string;
  readonly taskId: string;
  readonly peerId: string;
  state: State;
  /** Every message in the order of arrival, by its kind. */
  readonly messages: AnnouncePeerRequest__Output[];
  /** Answers given so far. */
  answerCount: number;
}

export interface StrictSchedulerOptions {
  readonly port?: number;
  /** To a registration and to each reschedule; undefined: nothing is said, ever. May throw a status. */
  readonly answer: (
    peer: StrictPeer,
    message: AnnouncePeerRequest__Output,
  ) => AnnouncePeerResponse | undefined;
  /** Called before each message is looked at; may throw a status. */
  readonly onMessage?: (peer: StrictPeer, message: AnnouncePeerRequest__Output) => void;
}

export interface StrictScheduler extends FakeScheduler {
  readonly peers: StrictPeer[];
  /** What a daemon did wrong; should be empty. */
  readonly faults: string[];
  /** Forgets every host, as after a restart. */
  forget(): void;
}

/** Where each report may come from, and where it leads. Absent: it changes nothing. */
const TRANSITIONS: Readonly<Record<string, { from: readonly State[]; to: State }>> = {
  downloadPeerStartedRequest: {
    from: ["ReceivedEmpty", "ReceivedNormal", "Running"],
    to: "Running",
  },
  downloadPeerFinishedRequest: {
    from: ["ReceivedEmpty", "ReceivedNormal", "Running", "BackToSource"],
    to: "Succeeded",
  },
  downloadPeerBackToSourceFinishedRequest: {
    from: ["ReceivedEmpty", "ReceivedNormal", "Running", "BackToSource"],
    to: "Succeeded",
  },
  downloadPeerFailedRequest: {
    from: ["Pending", "ReceivedEmpty", "ReceivedNormal", "Running", "BackToSource", "Succeeded"],
    to: "Failed",
  },
  downloadPeerBackToSourceFailedRequest: {
    from: ["Pending", "ReceivedEmpty", "ReceivedNormal", "Running", "BackToSource", "Succeeded"],
    to: "Failed",
  },
};

const FINAL: ReadonlySet<State> = new Set(["Succeeded", "Failed"]);

export async function serveStrictScheduler(
  options: StrictSchedulerOptions,
): Promise<StrictScheduler> {
  const peers: StrictPeer[] = [];
  const faults: string[] = [];
  const hosts = new Set<string>();

  const onPeer = async (call: FakePeerCall): Promise<void> => {
    let peer: StrictPeer | undefined;
    for await (const message of call.requests) {
      checked(faults, () => assertPeerRequest(message));
      const { hostId, taskId, peerId } = message;
      if (message.request === "registerPeerRequest") {
        if (!hosts.has(hostId)) throw status("NOT_FOUND", `host ${hostId} not found`);
        if (peers.some((known) => known.peerId === peerId))
          throw fault(faults, "INTERNAL", `peer ${peerId} registers twice`);
        peer = { hostId, taskId, peerId, state: "Pending", messages: [], answerCount: 0 };
        peers.push(peer);
      }
      if (peer === undefined || peer.peerId !== peerId)
        throw fault(faults, "NOT_FOUND", `peer ${peerId} not found`);
      peer.messages.push(message);
      options.onMessage?.(peer, message);
      if (message.request === "registerPeerRequest" || message.request === "reschedulePeerRequest")
        await answer(peer, message, call);
      else advance(peer, message, faults);
      if (FINAL.has(peer.state)) return;
    }
  };

  async function answer(
    peer: StrictPeer,
    message: AnnouncePeerRequest__Output,
    call: FakePeerCall,
  ): Promise<void> {
    const response = options.answer(peer, message);
    if (peer.state === "Pending")
      peer.state = response?.emptyTaskResponse ? "ReceivedEmpty" : "ReceivedNormal";
    peer.answerCount += 1;
    if (response !== undefined) await call.write(response);
  }

  const server = await serveFakeScheduler({
    ...(options.port === undefined ? {} : { port: options.port }),
    onAnnounce: (request) => {
      checked(faults, () => assertAnnouncement(request));
      hosts.add(request.host?.id ?? "");
    },
    onPeer,
  });
  // Not spread: what the server counts is counted on it.
  return Object.assign(server, { peers, faults, forget: () => hosts.clear() });
}

function advance(peer: StrictPeer, message: AnnouncePeerRequest__Output, faults: string[]): void {
  const { request = "" } = message;
  if (request === "downloadPeerBackToSourceStartedRequest") {
    // Of one that fetches from parents it is only counted.
    if (peer.state === "Running") return;
    if (peer.state !== "ReceivedEmpty" && peer.state !== "ReceivedNormal")
      throw fault(faults, "INTERNAL", `${request} inappropriate in state ${peer.state}`);
    peer.state = "BackToSource";
    return;
  }
  const transition = TRANSITIONS[request];
  if (transition === undefined) return;
  if (!transition.from.includes(peer.state))
    throw fault(faults, "INTERNAL", `${request} inappropriate in state ${peer.state}`);
  peer.state = transition.to;
}

function checked(faults: string[], assertion: () => void): void {
  try {
    assertion();
  } catch (error) {
    throw fault(faults, "INVALID_ARGUMENT", error instanceof Error ? error.message : String(error));
  }
}

function fault(
  faults: string[],
  code: "INVALID_ARGUMENT" | "INTERNAL" | "NOT_FOUND",
  reason: string,
): Error {
  faults.push(reason);
  return status(code, reason);
}
