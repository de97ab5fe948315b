import type { Download__Output } from "@damselfly/rpc";

/** What a client asks for, as its message arrives: what it leaves out has its default. */
export function downloadMessage(fields: Partial<Download__Output> = {}): Download__Output {
  return {
    url: "http://origin.test/file",
    type: "STANDARD",
    priority: "LEVEL6",
    filteredQueryParams: [],
    requestHeader: {},
    disableBackToSource: false,
    needBackToSource: false,
    certificateChain: [],
    prefetch: false,
    isPrefetch: false,
    needPieceContent: false,
    forceHardLink: false,
    overwrite: false,
    enableTaskIdBasedBlobDigest: false,
    metadataOnly: false,
    schedulingPolicy: "AUTO",
    extension: null,
    ...fields,
  };
}
