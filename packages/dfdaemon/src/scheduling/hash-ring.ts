import { sipHash24 } from "./sip-hash.ts";

/** Positions of each node on the ring; Dragonfly's daemons have as many. */
const VIRTUAL_NODE_COUNT = 512;
/** What Rust hashes after a text. */
const TEXT_END = 0xff;

/**
 * Which node is responsible for which key, the same at every daemon that knows the same nodes, Dragonfly's included; when one goes, only
 * its keys move. Of nodes with the same name the last one counts.
 *
 * Source: dragonfly-hashring 0.2.0, `VNodeHashRing`.
 */
export class HashRing<Node> {
  readonly #nodes: readonly Node[];
  /** In the order of their positions; made when first asked for. */
  #virtualNodes: readonly VirtualNode[] | undefined;
  readonly #names: readonly string[];

  constructor(nodes: Iterable<readonly [name: string, node: Node]> = []) {
    const byName = new Map(nodes);
    this.#names = [...byName.keys()];
    this.#nodes = [...byName.values()];
  }

  /** Every node: first the one that is responsible for the key, then whoever would be if those before were gone. */
  order(key: string): Node[] {
    if (this.#nodes.length < 2) return [...this.#nodes];
    this.#virtualNodes ??= placeNodes(this.#names);
    const ring = this.#virtualNodes;
    const start = firstAtOrAfter(ring, positionOfKey(key));
    const order = new Set<number>();
    for (let step = 0; step < ring.length && order.size < this.#nodes.length; step += 1)
      order.add(ring[(start + step) % ring.length]!.node);
    return [...order].map((node) => this.#nodes[node]!);
  }
}

/** Where a key is on the ring. */
export function positionOfKey(key: string): bigint {
  return sipHash24(Buffer.concat([Buffer.from(key), Buffer.of(TEXT_END)]));
}

/** Where the virtual nodes of the node `name` are on the ring, in the order of their numbers. */
export function positionsOfNode(name: string): bigint[] {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(name), Buffer.of(TEXT_END)]);
  return Array.from({ length: VIRTUAL_NODE_COUNT }, (_, replica) => {
    bytes.writeUInt32LE(replica);
    return sipHash24(bytes);
  });
}

interface VirtualNode {
  readonly position: bigint;
  /** Index. */
  readonly node: number;
}

function placeNodes(names: readonly string[]): VirtualNode[] {
  return names
    .flatMap((name, node) => positionsOfNode(name).map((position) => ({ position, node })))
    .toSorted((a, b) => (a.position < b.position ? -1 : 1));
}

/** Index; past the end the ring begins again. */
function firstAtOrAfter(ring: readonly VirtualNode[], position: bigint): number {
  let [low, high] = [0, ring.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ring[middle]!.position < position) low = middle + 1;
    else high = middle;
  }
  return low % ring.length;
}
