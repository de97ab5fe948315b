export const PIECE_LENGTH: number;
export function taskIdOf(index: number): string;
export function contentOfTask(index: number): Uint8Array;
