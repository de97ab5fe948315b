import { RpcError } from "@damselfly/rpc";
import type { PieceInfo } from "@damselfly/transport";
import { encodePacket, ErrorCode, Tag } from "@damselfly/vortex";

/** A lie's error as Vortex has it. */
export function refusal(error: unknown): Uint8Array {
  const notFound = error instanceof RpcError && error.code === "NOT_FOUND";
  const code = notFound ? ErrorCode.NotFound : ErrorCode.Internal;
  return encodePacket({ kind: "error", id: 0, tag: Tag.Error, code, message: String(error) });
}

/** A piece as Vortex announces it, whatever it says of itself. */
export function announcement({ number, ...piece }: PieceInfo): Uint8Array {
  return encodePacket({
    kind: "content",
    id: 0,
    tag: Tag.PieceContent,
    pieceNumber: number,
    ...piece,
    parentId: "",
    trafficType: 1,
    costSeconds: 0,
    createdAtSeconds: 0,
  });
}
